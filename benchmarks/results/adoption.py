"""Reuses rankings that an earlier run into the same folder paid an endpoint for.

A run with `--limit 3`, for example, has other candidate sets and cells than a whole run. If two cells have
the same system, queries with the same text and candidates have rankings already: their rows and rankings are
copied, with the sessions that measured them, and the run goes on from there as after an interruption.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from benchmarks.candidates.pool_folder import load_pool, read_index
from benchmarks.results.cell import write_in_order
from benchmarks.results.cell_lines import committed
from benchmarks.results.cell_record import readable_record
from rerankers.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.plan import CellPlan
    from benchmarks.results.record import QueryRow, Record


def adopt_answers(cell: CellPlan, pool: Pool, folder: Path) -> int:
    """Copy the rankings that the same system gave on another candidate set into a cell not yet begun.

    Args:
        cell: an endpoint's cell.
        pool: the cell's candidate set.
        folder: the result folder.

    Returns:
        the number of queries copied; 0 if the cell has a folder already or no ranking can be reused.

    Raises:
        StoreError: the cell cannot be written.
    """
    if (folder / cell.name).exists():
        return 0
    best: tuple[Record, dict[str, bytes], list[QueryRow]] | None = None
    for record, blocks, rows in _answered(cell, pool, folder):
        if best is None or len(rows) > len(best[2]):
            best = record, blocks, rows
    if best is None or not best[2]:
        return 0
    record, blocks, rows = best
    changes: dict[str, object] = {
        "cell": cell.name,
        "pool": pool.digest,
        "status": "running",
        "error": None,
        "seal": None,
    }
    changes |= {"dataset": pool.dataset, "first_stage": pool.first_stage, "operations": None}
    record = record.model_copy(update=changes)
    write_in_order(folder / cell.name, record, *_renamed(cell.name, blocks, rows), list(pool.queries))
    return len(blocks)


def count_answers(cell: CellPlan, folder: Path) -> int:
    """Return how many rankings `adopt_answers` may copy into a cell: 0 if there is such a cell already.

    Candidates are not compared, because those of the cell need not be known yet.
    """
    if (folder / cell.name).exists():
        return 0
    siblings = (folder / cell.name_on(key) for key in read_index(folder / "pools") if key != cell.pool.key)
    return max(map(_count_rows, siblings), default=0)


def _count_rows(folder: Path) -> int:
    """Return the rankings of a cell; 0 where there is none, or it cannot be read."""
    try:
        return len(committed(folder)[1]) if readable_record(folder) else 0
    except DamagedError:
        return 0


def _answered(
    cell: CellPlan, pool: Pool, folder: Path
) -> Iterator[tuple[Record, dict[str, bytes], list[QueryRow]]]:
    """Yield record, ranking lines and rows of each cell with the same system on another candidate set.

    Ranking lines and rows are limited to queries that are the same in both candidate sets.
    """
    for key, digest in read_index(folder / "pools").items():
        sibling = folder / cell.name_on(key)
        record = readable_record(sibling) if key != cell.pool.key else None
        if record is None:
            continue
        try:
            other = load_pool(folder / "pools" / digest)
            blocks, rows = committed(sibling)
        except DamagedError:
            continue
        same = {query_id for query_id in blocks if _are_same(query_id, pool, other)}
        kept = [row for row in rows if row.query_id in same]
        yield record, {query_id: blocks[query_id] for query_id in blocks if query_id in same}, kept


def _are_same(query_id: str, pool: Pool, other: Pool) -> bool:
    """Return whether a query has the same text, instruction and candidates, in order, in both sets."""
    return (
        query_id in other.queries
        and pool.queries.get(query_id) == other.queries[query_id]
        and pool.instructions.get(query_id) == other.instructions.get(query_id)
        and pool.candidates[query_id] == other.candidates[query_id]
    )


def _renamed(
    name: str, blocks: dict[str, bytes], rows: list[QueryRow]
) -> tuple[dict[str, bytes], list[QueryRow]]:
    """Return the ranking lines tagged with another cell's name, and the rows with the new digests."""
    renamed = {query_id: _with_tag(block, name) for query_id, block in blocks.items()}
    digests = {_digest(blocks[query_id]): _digest(renamed[query_id]) for query_id in blocks}
    return renamed, [
        row.model_copy(update={"ranking": digests.get(row.ranking, row.ranking)}) for row in rows
    ]


def _with_tag(block: bytes, name: str) -> bytes:
    """Return TREC lines with their last field replaced by a cell's name."""
    return b"".join(line.rpartition(b" ")[0] + b" " + name.encode() + b"\n" for line in block.splitlines())


def _digest(block: bytes) -> str:
    """Return the first 16 hex digits of the sha256 of some ranking lines."""
    return hashlib.sha256(block).hexdigest()[:16]
