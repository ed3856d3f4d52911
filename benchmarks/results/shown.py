"""Records as a notebook shows them: one row a cell, every text escaped.

They say what was run and how long it took; measures and tests come with
`reports.formats.notebook.open_results`.
"""

from __future__ import annotations

from html import escape
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.results.record import QueryRow, Record

HEADS = ("System", "reranker", "dataset", "first stage", "depth", "mode", "status", "queries", "median (ms)")


def as_html(cells: Iterable[tuple[Record, Sequence[QueryRow]]]) -> str:
    """A table of cells, each a record and its rows; without rows nothing was measured."""
    heads = "".join(f"<th>{head}</th>" for head in HEADS)
    body = "".join(_row(record, rows) for record, rows in cells)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _row(record: Record, rows: Sequence[QueryRow]) -> str:
    shown = (
        record.system.label,
        record.system.reranker,
        record.dataset,
        record.first_stage.get("kind", ""),
        record.depth,
        record.protocol.mode,
        record.status if record.error is None else f"{record.status}: {record.error}",
        len({row.query_id for row in rows}) or "",
        f"{1e3 * median(row.total_seconds for row in rows):,.1f}" if rows else "",
    )
    return f"<tr>{''.join(f'<td>{escape(str(value))}</td>' for value in shown)}</tr>"
