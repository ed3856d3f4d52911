"""Generates ranked lists for training: a first stage retrieves, candidates are drawn, a teacher orders them.

Any dataset, any first stage and any registered reranker of the suite will do; queries are the dataset's own,
or are written about its passages. The file is JSON lines in the plain form of
`rerankers.training.data.records`: a first line describes the origin, and each list names its teacher by
digest, and the passage that its query was written about. Lines are only ever appended, so a killed run loses
one batch at most.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.datasets.sources import open_dataset
from benchmarks.first_stages.retrieval import retrieve
from benchmarks.measuring.progress import say
from benchmarks.training_data.appended import Appended
from benchmarks.training_data.queries.evaluation_queries import is_test_split, protected_queries
from benchmarks.training_data.queries.settings import GivenQueries, defining_settings
from benchmarks.training_data.queries.training_queries import training_queries
from rerankers import registry
from rerankers.endpoints.prices import Budget
from rerankers.files.folder_lock import FolderLock
from rerankers.interface import Candidate, RerankRequest
from rerankers.progress import Activity
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.datasets.dataset import Dataset
    from benchmarks.training_data.distillation_settings import Distillation
    from benchmarks.training_data.queries.evaluation_queries import ProtectedQueries
    from benchmarks.training_data.queries.training_queries import TrainingQueries
    from rerankers.interface import Ranking, Reranker

_RETRIEVED_AT_ONCE = 8192  # queries between two calls of the first stage, whose start takes seconds


class DrawnList(NamedTuple):
    """The candidates drawn for one query: a request for the teacher, and doc ids in the list's own order."""

    request: RerankRequest
    doc_ids: list[str]


def distill(settings: Distillation, out: Path) -> int:
    """Append the ranked lists that a file lacks, and return the number of lists it then has.

    Args:
        settings: the distillation's settings.
        out: the JSON lines file, created or resumed.

    Raises:
        InputError: the settings do not fit the dataset, or `out` was made with other settings.
        StoreError: another process is writing there.
        ModelError, BackendError: the teacher or the question writer failed; rows that were written stay.
    """
    _check_teacher(settings)
    dataset = open_dataset(settings.dataset, needs_queries=not settings.makes_queries)
    for note in dataset.notes:
        say(f"{dataset.name}: {note}")
    _warn_of_test_split(settings, dataset)
    protected = protected_queries(
        settings.test_queries, settings.dataset, dataset, are_made=settings.makes_queries
    )
    ledger = out.with_name(f"{out.name}.spending")
    budget = None if settings.budget is None else Budget(settings.budget, ledger)
    with FolderLock(out.parent):
        queries = training_queries(settings, dataset, protected, out, budget)
        dataset.queries, dataset.qrels = queries.texts, queries.qrels
        teacher = _teacher(settings, dataset)
        try:
            if budget is not None:
                teacher.pay_from(budget)
            with Appended(out, _about(settings, dataset, teacher, protected), _query_id) as file:
                _write(settings, dataset, teacher, queries, file)
                if queries.counts:
                    file.note({"queries": queries.counts})
                return len(file.rows)
        finally:
            teacher.close()


def _write(
    settings: Distillation, dataset: Dataset, teacher: Reranker, queries: TrainingQueries, file: Appended[str]
) -> None:
    """Append lists for the queries that have none in the file, batch by batch."""
    done = set(file.rows)
    if done:
        say(f"{len(done)} lists are there already")
    todo = [query_id for query_id in queries.texts if query_id not in done]
    with Activity("distilling", len(queries.texts), len(queries.texts) - len(todo)) as progress:
        for lists in _lists(settings, dataset, todo):
            file.append(_ordered(settings, dataset, teacher, lists, queries.sources, file.digest))
            progress.advance(len(lists))


def _query_id(row: Mapping[str, Any]) -> str:
    """Return the query id of a row."""
    return str(row["query_id"])


def _check_teacher(settings: Distillation) -> None:
    """Raise InputError for wrong options of the teacher, before any question is paid for."""
    name = settings.teacher.name
    if not registry.options_model(name).needs_qrels:
        registry.validated(name, settings.teacher.options)


def _warn_of_test_split(settings: Distillation, dataset: Dataset) -> None:
    """Print a warning if the queries to train on are a test split."""
    if not settings.makes_queries and is_test_split(settings.dataset):
        say(
            f"warning: the queries of {dataset.name} are a test split. A model trained on them cannot be "
            "evaluated on them. Set dataset.split, or queries: titles"
        )


def _teacher(settings: Distillation, dataset: Dataset) -> Reranker:
    """Create the teacher; one that needs judgements gets the dataset's."""
    name, options = settings.teacher.name, dict(settings.teacher.options)
    if registry.options_model(name).needs_qrels:
        options["qrels"] = dataset.qrels
    return registry.create(name, options)


def _about(
    settings: Distillation, dataset: Dataset, teacher: Reranker, protected: ProtectedQueries
) -> dict[str, Any]:
    """Return a description of the lists' origin, with a digest of all settings that change a list.

    Settings that were added later are included only if they are used, so that older files can be resumed.
    """
    chosen = settings.model_dump(
        mode="json",
        exclude={"limit", "batch", "budget", "dataset", "queries", "test_queries", "skip"},
    )
    source = settings.queries
    if source is None or isinstance(source, GivenQueries):
        chosen["queries"] = None if source is None else source.kind
    else:
        chosen["queries"] = dict(defining_settings(source))
    if settings.candidates.shuffle:
        chosen["teacher_reads"] = "the first stage's order"
    if settings.skip:
        chosen["skip"] = settings.skip
    identity = settings.dataset.identity()
    later: dict[str, Any] = {key: identity[key] for key in ("query_field", "exclude") if key in identity}
    about: dict[str, Any] = {
        "teacher": {"name": settings.teacher.name, "described": teacher.describe()},
        "dataset": {
            "name": dataset.name,
            "passages": dataset.fingerprint,
            "split": settings.dataset.split,
            **later,
        },
        "settings": chosen,
    }
    if len(protected):
        about["test_queries"] = protected.identity()
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return {"digest": digest, **about}


def _lists(settings: Distillation, dataset: Dataset, query_ids: Sequence[str]) -> Iterator[list[DrawnList]]:
    """Retrieve for the queries, and yield batches of drawn lists.

    A query with fewer than two hits has none.
    """
    for start in range(0, len(query_ids), _RETRIEVED_AT_ONCE):
        queries = {
            query_id: dataset.queries[query_id] for query_id in query_ids[start : start + _RETRIEVED_AT_ONCE]
        }
        say(f"retrieving for {len(queries)} queries")
        retrieved = retrieve(
            settings.first_stage, dataset, queries, settings.candidates.depth, is_timed=False
        )
        hits = {query_id: retrieved.hits[query_id] for query_id in queries if query_id in retrieved.hits}
        ids = [query_id for query_id, query_hits in hits.items() if len(query_hits) > 1]
        for first in range(0, len(ids), settings.batch):
            yield [
                _drawn(settings, dataset, query_id, queries[query_id], hits[query_id])
                for query_id in ids[first : first + settings.batch]
            ]


def _drawn(
    settings: Distillation, dataset: Dataset, query_id: str, query: str, hits: Sequence[tuple[str, float]]
) -> DrawnList:
    """Draw a query's list from its hits, (doc id, score) pairs, and look up the passage texts."""
    drawn_hits = draw(settings, hits, dataset.qrels.get(query_id, {}), query_id)
    rank = {doc_id: position for position, (doc_id, _) in enumerate(hits)}
    in_rank_order = sorted(drawn_hits, key=lambda hit: rank[hit[0]])
    texts = dataset.texts([doc_id for doc_id, _ in in_rank_order])
    candidates = tuple(Candidate(query_id, doc_id, texts[doc_id], score) for doc_id, score in in_rank_order)
    return DrawnList(RerankRequest(query_id, query, candidates), [doc_id for doc_id, _ in drawn_hits])


def draw(
    settings: Distillation, hits: Sequence[tuple[str, float]], grades: Mapping[str, int], query_id: str
) -> list[tuple[str, float]]:
    """Draw a query's list from its hits; return (doc id, score) pairs in the list's order.

    Equal arguments give equal lists. `grades` are the query's judgements by doc id; with `qrels_first`,
    relevant passages are always in the list.
    """
    spec = settings.candidates
    generator = random.Random(f"{settings.seed}:{query_id}")  # noqa: S311 - sampling, not secrets
    hits = hits[: spec.depth]
    size = min(spec.per_list, len(hits))
    reach = size if spec.at == "top" else round(size * (len(hits) / size) ** generator.random())
    ranks = generator.sample(range(reach), size)
    if settings.qrels_first:
        relevant = [rank for rank, (doc_id, _) in enumerate(hits) if grades.get(doc_id, 0) > 0]
        ranks = list(dict.fromkeys([*relevant, *ranks]))[:size]
    ranks.sort()
    if spec.shuffle:
        generator.shuffle(ranks)
    return [hits[rank] for rank in ranks]


def _ordered(
    settings: Distillation,
    dataset: Dataset,
    teacher: Reranker,
    lists: Sequence[DrawnList],
    sources: Mapping[str, str],
    digest: str,
) -> list[dict[str, Any]]:
    """Let the teacher order the lists, and return one row of the file for each.

    Args:
        settings: the distillation's settings.
        dataset: its judgements.
        teacher: the reranker.
        lists: the drawn lists.
        sources: doc id of the passage that a query was written about, by query id.
        digest: digest of the lists' origin.
    """
    requests = [drawn.request for drawn in lists]
    teacher.prepare(requests)
    rows = []
    for drawn, ranking in zip(lists, teacher.rerank(requests, StageClock()), strict=True):
        query_id = drawn.request.query_id
        grades = dataset.qrels.get(query_id)
        source = {"source_doc_id": sources[query_id]} if query_id in sources else {}
        line = _line(drawn, ranking, (grades or {}) if settings.qrels_first else {})
        rows.append({**line, **_evaluated_by(drawn, grades), **source, "teacher": digest})
    return rows


def _evaluated_by(drawn: DrawnList, grades: Mapping[str, int] | None) -> dict[str, Any]:
    """Return the fields of a row that evaluation needs: first-stage order and, if there are any, grades.

    Positions in `first_stage` and entries of `grades` refer to the list's passages.
    """
    position = {doc_id: index for index, doc_id in enumerate(drawn.doc_ids)}
    order = {"first_stage": [position[candidate.doc_id] for candidate in drawn.request.candidates]}
    if grades is None:
        return order
    elsewhere = [grade for doc_id, grade in grades.items() if doc_id not in position and grade > 0]
    return {
        **order,
        "grades": [grades.get(doc_id) for doc_id in drawn.doc_ids],
        "grades_elsewhere": sorted(elsewhere, reverse=True),
    }


def _line(drawn: DrawnList, ranking: Ranking, grades: Mapping[str, int]) -> dict[str, Any]:
    """Return the main fields of a row: query, passages, and the teacher's order with its scores.

    Passages with higher `grades` go before the teacher's order.
    """
    position = {doc_id: index for index, doc_id in enumerate(drawn.doc_ids)}
    texts = {candidate.doc_id: candidate.text for candidate in drawn.request.candidates}
    ranked = sorted(
        zip(ranking.doc_ids, ranking.scores, strict=True),
        key=lambda scored: -max(0, grades.get(scored[0], 0)),
    )
    return {
        "query_id": drawn.request.query_id,
        "query": drawn.request.query,
        "passages": [texts[doc_id] for doc_id in drawn.doc_ids],
        "ranking": [position[doc_id] for doc_id, _ in ranked],
        "scores": [round(score, 6) for _, score in ranked],
        "doc_ids": drawn.doc_ids,
    }
