"""Embedding work shared by passages: each passage of a candidate set is embedded by one task.

A reranker that embeds passages into a store before it ranks (`MethodOptions.embeds_passages`) would embed a
passage on every node that ranks one of its queries. So tasks of their own embed the passages first, a shard
each, and the tasks that rank put the vectors that they need into the stores of their nodes. A shard is made
of whole chunks in which an encoder takes texts, so that its vectors have the bits of a local run.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.executors.machine import MachineLock
from benchmarks.executors.ray_cluster import node_name
from benchmarks.executors.travel import unpack
from rerankers.files.paths import cache_folder
from rerankers.interface import Candidate, RerankRequest
from rerankers.registry import create

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from benchmarks.candidates.frozen import Pool
    from benchmarks.executors.travel import Luggage
    from benchmarks.experiments.plan import CellPlan


class Embedded(NamedTuple):
    """Passage vectors on their way to one embedding store.

    Attributes:
        parent: parent folder of the store; None for the node's cache.
        meta: description of encoder and text preparation, which identifies the store.
        texts: the passages.
        vectors: (len(texts), dimension).
    """

    parent: str | None
    meta: dict[str, Any]
    texts: list[str]
    vectors: npt.NDArray[np.float32]


def shards_of_passages(pool: Pool, query_ids: Iterable[str], most: int) -> list[list[str]]:
    """Split the distinct passages of some queries, in order, into at most `most` shards of whole chunks."""
    from rerankers.encoders.limits import TEXTS_AT_ONCE

    texts = list(
        dict.fromkeys(candidate.text for query_id in query_ids for candidate in pool.candidates[query_id])
    )
    chunks = -(-len(texts) // TEXTS_AT_ONCE)
    count = min(most, chunks)
    ends = [chunks * part // count * TEXTS_AT_ONCE for part in range(count + 1)] if count else [0]
    return [texts[start:end] for start, end in pairwise(ends)]


def embed(cell: CellPlan, texts: Sequence[str], luggage: Luggage) -> list[Embedded]:
    """Embed passages with a cell's reranker, as a task on a worker.

    Return the vectors for each of its stores.

    Args:
        cell: whose reranker to create.
        texts: the passages.
        luggage: the local files that the reranker needs.
    """
    with MachineLock(is_exclusive=False) as lock:
        lock.acquire(may_wait=True)
        unpack(luggage, [cell], node_name()[0])
        reranker = create(cell.reranker, cell.options)
        candidates = tuple(Candidate("", str(place), text, 0.0) for place, text in enumerate(texts))
        reranker.prepare([RerankRequest("", "", candidates)])
        default = cache_folder() / "embeddings"
        return [
            Embedded(
                None if store.folder.parent == default else str(store.folder.parent),
                store.meta,
                list(texts),
                store.get(texts)[0],
            )
            for store in reranker.stores()
        ]


def fill_stores(embedded: Sequence[Sequence[Embedded]], pool: Pool) -> None:
    """Add the vectors of a candidate set's passages to this node's embedding stores, without duplicates."""
    from rerankers.encoders.store import EmbeddingStore

    wanted = {candidate.text for candidates in pool.candidates.values() for candidate in candidates}
    for result in (shard_result for shard in embedded for shard_result in shard):
        store = EmbeddingStore(
            Path(result.parent) if result.parent else cache_folder() / "embeddings",
            result.meta,
            result.vectors.shape[1],
        )
        rows = [row for row, text in enumerate(result.texts) if text in wanted]
        is_there = store.get([result.texts[row] for row in rows])[1]
        missing = [row for row, there in zip(rows, is_there, strict=True) if not there]
        store.put([result.texts[row] for row in missing], result.vectors[missing])
