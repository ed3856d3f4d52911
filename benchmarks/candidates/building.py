"""Builds a frozen candidate set: reads a dataset, runs its first stage and looks up the passage texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.candidates.frozen import Pool
from benchmarks.candidates.scratch import ScratchCandidates
from benchmarks.evaluation.judged import unjudged_warning
from benchmarks.measuring.progress import say
from rerankers.interface import Candidate
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.datasets.dataset import Dataset
    from benchmarks.datasets.specs import DatasetSpec
    from benchmarks.first_stages.specs import FirstStageSpec


def build_pool(
    dataset_spec: DatasetSpec | str,
    first_stage_spec: FirstStageSpec,
    depth: int,
    limit: int | None = None,
    *,
    is_timed: bool = True,
) -> Pool:
    """Run a first stage over a dataset's queries and return the candidates, with texts, as a frozen `Pool`.

    With judgements, only judged queries are used; a judged query for which the first stage retrieves nothing
    stays, without candidates. Without judgements, all queries are used. `limit` keeps the first ones. Notes
    and warnings about the dataset are printed. `is_timed` is that of `retrieve`.

    Raises:
        InputError: the dataset or the first stage is wrong, or they do not fit together.
    """
    from benchmarks.datasets.sources import open_dataset
    from benchmarks.first_stages.retrieval import retrieve

    dataset = open_dataset(dataset_spec)
    for note in dataset.notes:
        say(f"{dataset.name}: {note}")
    query_ids = [query_id for query_id in dataset.queries if not dataset.qrels or query_id in dataset.qrels]
    queries = {query_id: dataset.queries[query_id] for query_id in query_ids[:limit]}
    retrieved = retrieve(first_stage_spec, dataset, queries, depth, is_timed=is_timed)
    signs = _signs(dataset, retrieved.hits)
    warnings = [*dataset.notes, *signs]
    candidates, fetch_seconds = _fetch(dataset, queries, retrieved.hits)
    pool = Pool.freeze(
        dataset=dataset.name,
        first_stage={**retrieved.described, "warnings": warnings} if warnings else retrieved.described,
        depth=depth,
        queries=queries,
        qrels=dataset.qrels,
        candidates=candidates,
        unjudged=len(dataset.queries) - len(query_ids),
        retrieve_seconds=retrieved.seconds,
        fetch_seconds=fetch_seconds,
        instructions=dataset.instructions,
    )
    unjudged = unjudged_warning(pool)
    for sentence in [*signs, *([] if unjudged is None else [unjudged])]:
        say(f"{dataset.name}: {sentence}")
    return pool


def _fetch(
    dataset: Dataset, queries: Iterable[str], hits: Mapping[str, Sequence[tuple[str, float]]]
) -> tuple[ScratchCandidates, dict[str, float]]:
    """Look up the texts of retrieved passages; return candidates and look-up seconds, both by query id.

    `hits` holds (doc id, score) pairs, best first, by query id.
    """
    clock = StageClock()
    candidates, seconds = ScratchCandidates(), {}
    for query_id in queries:
        ranked = hits.get(query_id, [])
        started = clock.now()
        texts = dataset.texts([doc_id for doc_id, _ in ranked])
        seconds[query_id] = clock.now() - started
        candidates.add(query_id, (Candidate(query_id, doc, texts[doc], score) for doc, score in ranked))
    candidates.flush()
    return candidates, seconds


def _signs(dataset: Dataset, hits: Mapping[str, Sequence[tuple[str, float]]]) -> list[str]:
    """Return warnings that the dataset should exclude passages per query; empty if it excludes some."""
    from benchmarks.datasets.exclusion import suspicions

    doc_ids_by_query = ((query_id, (doc_id for doc_id, _ in ranked)) for query_id, ranked in hits.items())
    return [] if dataset.exclusion else suspicions(doc_ids_by_query, dataset.qrels)
