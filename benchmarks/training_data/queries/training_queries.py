"""Returns the training queries of a distillation: the dataset's own, or made from its passages."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from benchmarks.measuring.progress import say
from benchmarks.training_data.queries.making import REPEATS, MadeQueries, QueryMaker, queries_file
from benchmarks.training_data.queries.near_duplicates import RULE
from benchmarks.training_data.queries.settings import GivenQueries
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.datasets.dataset import Dataset
    from benchmarks.training_data.distillation_settings import Distillation
    from benchmarks.training_data.queries.evaluation_queries import ProtectedQueries
    from rerankers.endpoints.prices import Budget


@dataclass(frozen=True, slots=True)
class TrainingQueries:
    """Training queries with their judgements.

    Attributes:
        texts: query by query id, in the seed's order.
        qrels: grades by doc id by query id; for a query made from a passage, only this passage, grade 1.
        sources: doc id of the passage that a query was made from, by query id; empty for given queries.
        counts: numbers of used queries, and of those left out by fault; may be empty.
    """

    texts: dict[str, str]
    qrels: dict[str, dict[str, int]]
    sources: dict[str, str] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)


def training_queries(
    settings: Distillation, dataset: Dataset, protected: ProtectedQueries, out: Path, budget: Budget | None
) -> TrainingQueries:
    """Return the training queries that the settings select, without those that repeat a protected query.

    Args:
        settings: settings of the distillation.
        dataset: the queries or passages.
        protected: the queries of evaluations.
        out: the file of lists, beside which questions are kept.
        budget: dollars for calls of endpoints; None for no limit.

    Raises:
        InputError: the settings do not fit the dataset, or no query is left.
        ModelError, BackendError: a model or an endpoint failed for good.
    """
    source = settings.queries
    if len(protected):
        say(f"test queries that are kept out of training: {len(protected)} ({', '.join(protected.names)})")
    if source is None or isinstance(source, GivenQueries):
        queries = _own_queries(settings, dataset, protected)
    else:
        needed = None if settings.limit is None else settings.skip + settings.limit
        maker = QueryMaker(source, dataset, protected, settings.seed, queries_file(out))
        made_queries = maker.make(needed, budget)
        queries = _of_made(settings, made_queries)
    removed = queries.counts.get("faults", {}).get(REPEATS, 0)
    if len(protected):
        say(f"training queries removed because they repeat a test query: {removed} ({RULE})")
    if not queries.texts:
        raise InputError(f"{dataset.name}: no training query is left. Check queries, skip and test_queries")
    return queries


def _of_made(settings: Distillation, made_queries: MadeQueries) -> TrainingQueries:
    """Return made queries between `skip` and the limit, each with its passage as the relevant one."""
    texts = _part(settings, made_queries.texts)
    sources = {query_id: made_queries.sources[query_id] for query_id in texts}
    qrels = {query_id: {doc_id: 1} for query_id, doc_id in sources.items()}
    return TrainingQueries(texts, qrels, sources, made_queries.counts)


def _own_queries(settings: Distillation, dataset: Dataset, protected: ProtectedQueries) -> TrainingQueries:
    """Return the dataset's own queries in random order, so that any first part is a fair sample."""
    kind = settings.queries.kind if isinstance(settings.queries, GivenQueries) else None
    kind = kind or ("judged" if dataset.qrels else "all")
    if kind == "judged" and not dataset.qrels:
        raise InputError(f"{dataset.name} has no judgements; set queries: all, or make queries: titles")
    ids = list(dataset.qrels if kind == "judged" else dataset.queries)
    random.Random(settings.seed).shuffle(ids)  # noqa: S311 - sampling, not secrets
    if not len(protected):
        return TrainingQueries(
            _part(settings, {query_id: dataset.queries[query_id] for query_id in ids}), dataset.qrels
        )
    texts = {
        query_id: dataset.queries[query_id]
        for query_id in ids
        if protected.find(dataset.queries[query_id]) is None
    }
    removed = len(ids) - len(texts)
    counts = {"kind": kind, "usable": len(texts), "faults": {REPEATS: removed} if removed else {}}
    return TrainingQueries(_part(settings, texts), dataset.qrels, counts=counts)


def _part(settings: Distillation, texts: dict[str, str]) -> dict[str, str]:
    """Return the queries from position `skip` up to the limit."""
    stop = None if settings.limit is None else settings.skip + settings.limit
    return dict(islice(texts.items(), settings.skip, stop))
