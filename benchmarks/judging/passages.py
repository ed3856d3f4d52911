"""Selects the passages that a model grades: unjudged ones among the first ranks, and a sample of judged ones.

A hole is a passage that a system ranks among the first k and that has no judgement. Judged passages of the
same ranks are drawn at random, to measure how well the model agrees with the judgements.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.results.store import read_results
from rerankers.errors import InputError
from rerankers.registry import role_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool
    from benchmarks.results.store import CellResult

BINARY, GRADED = 1, 3
"""Highest grades of judgements that the template's grades are mapped to without a choice."""

Pair = tuple[str, str]
"""Ids of a query and a passage."""


@dataclass(frozen=True)
class Holes:
    """The passages of one candidate set that a model is to grade.

    Attributes:
        unjudged: pairs without a judgement, in the order of the queries.
        judged: a sample of pairs with a judgement.
        scale: the dataset's grade for each of the template's grades, from 0 up.
    """

    pool: Pool
    unjudged: tuple[Pair, ...]
    judged: tuple[Pair, ...]
    scale: tuple[int, ...]


def find_holes(folder: Path, depth: int, agreement: int, scale: tuple[int, ...] | None) -> list[Holes]:
    """Return the passages to grade for each candidate set of a result folder.

    Args:
        folder: the result folder.
        depth: number of first ranks of each system to take passages from; controls are left out.
        agreement: most judged passages of a candidate set to grade again.
        scale: the dataset's grade for each of the template's grades; None derives it from the judgements.

    Raises:
        InputError: a candidate set has no texts, or its grades need a scale.
    """
    results = read_results(folder)
    by_pool: dict[str, list[CellResult]] = {}
    for cell in results.cells:
        record = cell.record
        if record.status == "done" and record.pool and role_of(record.system.reranker) != "control":
            by_pool.setdefault(record.pool, []).append(cell)
    if not by_pool:
        raise InputError(f"{folder}: no system is finished. Run the experiment to its end, then judge.")
    holes = []
    for digest, cells in by_pool.items():
        pool = results.pool(digest)
        if not (folder / "pools" / digest / "texts.jsonl.gz").exists():
            raise InputError(
                f"{folder}: the candidate set {digest} ({pool.dataset}) is stored without texts, and a model "
                "judges texts. Run an experiment with store_text: true, and import runs with --pool."
            )
        positions = {query_id: position for position, query_id in enumerate(pool.queries)}
        pairs = {pair for cell in cells for pair in _top(cell, pool, depth)}
        ordered = sorted(pairs, key=lambda pair: (positions[pair[0]], pair[1]))
        holes.append(_holes(pool, ordered, agreement, scale))
    return holes


def _top(cell: CellResult, pool: Pool, depth: int) -> Iterator[Pair]:
    """Yield (query id, doc id) of a system's first `depth` ranks, for judged queries only if there are
    any.
    """
    judged = pool.qrels or pool.queries
    for query_id, doc_ids in cell.rankings.orders(depth).items():
        if query_id in judged:
            yield from ((query_id, doc_id) for doc_id in doc_ids)


def _holes(pool: Pool, pairs: list[Pair], agreement: int, scale: tuple[int, ...] | None) -> Holes:
    """Divide pairs into unjudged ones and a random sample of at most `agreement` judged ones."""
    unjudged = tuple(pair for pair in pairs if pair[1] not in pool.qrels.get(pair[0], {}))
    judged = [pair for pair in pairs if pool.qrels.get(pair[0], {}).get(pair[1], -1) >= 0]
    sample = {*sorted(judged, key=_draw)[:agreement]}
    return Holes(pool, unjudged, tuple(pair for pair in judged if pair in sample), scale or _scale(pool))


def _draw(pair: Pair) -> bytes:
    """Return a sort key whose order is random and the same in every run."""
    return hashlib.sha256("\n".join(pair).encode()).digest()


def _scale(pool: Pool) -> tuple[int, ...]:
    """Return the dataset's grade for each of the template's: the same, or for binary grades 1 from 2 on."""
    highest = max((grade for grades in pool.qrels.values() for grade in grades.values()), default=GRADED)
    if highest == GRADED:
        return (0, 1, 2, 3)
    if highest <= BINARY:
        return (0, 0, 1, 1)
    raise InputError(
        f"{pool.dataset}: the highest grade of its judgements is {highest}, and the prompt template grades "
        "from 0 to 3. Say with --scale which grade stands for each of the four, such as --scale 0,1,2,2."
    )
