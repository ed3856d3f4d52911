"""Answers of endpoints that another run into the same folder paid for, such as one with `--limit 3`.

A limit makes another candidate set and with it another cell. Of the same system, the queries whose text and
candidates are the same in both were answered already: their rows and rankings are copied, with the sessions
that measured them, and the run goes on from there as after an interruption.
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
    """Copy the answers of the same system on other candidate sets of a folder into a cell that has none.

    Args:
        cell: of an endpoint, not measured yet.
        pool: its candidates.
        folder: the result folder.

    Returns:
        how many queries were copied.

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


def _answered(
    cell: CellPlan, pool: Pool, folder: Path
) -> Iterator[tuple[Record, dict[str, bytes], list[QueryRow]]]:
    """Yield the record, ranking lines and rows of each such cell, on the queries that are the same."""
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
    """Return whether a query has the same text and the same candidates, in order and text, in both."""
    return (
        query_id in other.queries
        and pool.queries.get(query_id) == other.queries[query_id]
        and pool.instructions.get(query_id) == other.instructions.get(query_id)
        and pool.candidates[query_id] == other.candidates[query_id]
    )


def _renamed(
    name: str, blocks: dict[str, bytes], rows: list[QueryRow]
) -> tuple[dict[str, bytes], list[QueryRow]]:
    """Return the lines with the cell's name as their tag, and the rows with the digests of those lines."""
    renamed = {query_id: _with_tag(block, name) for query_id, block in blocks.items()}
    digests = {_digest(blocks[query_id]): _digest(renamed[query_id]) for query_id in blocks}
    return renamed, [
        row.model_copy(update={"ranking": digests.get(row.ranking, row.ranking)}) for row in rows
    ]


def _with_tag(block: bytes, name: str) -> bytes:
    return b"".join(line.rpartition(b" ")[0] + b" " + name.encode() + b"\n" for line in block.splitlines())


def _digest(block: bytes) -> str:
    return hashlib.sha256(block).hexdigest()[:16]
