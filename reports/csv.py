"""Tables as CSV: one line a system and group, full precision, an interval and a p-value beside each measure.

A text that a spreadsheet would take for a formula is defused with a leading apostrophe; numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from reports.tables import tables

if TYPE_CHECKING:
    from reports.tables import Row, Table
    from reports.values import Context

_ABOUT = ("dataset", "first_stage", "depth", "mode", "pool", "system", "reranker", "status", "notice")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(context: Context, layout: str = "headline") -> str:
    """All groups of a context in one layout."""
    found = tables(context, layout)
    lines = [line for one in found for line in _lines(one)]
    names = list(dict.fromkeys([*_ABOUT, *(name for line in lines for name in line)]))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _lines(one: Table) -> list[dict[str, str | int | float]]:
    return [_line(one, row) for row in one.rows]


def _line(one: Table, row: Row) -> dict[str, str | int | float]:
    group = one.group
    system = group.system(row.label)
    line: dict[str, str | int | float] = {
        "dataset": _text(group.dataset),
        "first_stage": _text(group.first_stage),
        "depth": group.depth,
        "mode": group.mode,
        "pool": _text(group.pool.digest),
        "system": _text(row.label),
        "reranker": _text(system.reranker),
        "status": system.status,
        "notice": _text(system.notice or ""),
    }
    for column, cell in zip(one.columns, row.cells, strict=True):
        name = f"{column.name}_{column.unit}" if column.unit and column.unit != "×" else column.name
        if cell.value is None:
            continue
        line[name] = cell.value
        if cell.low is not None and cell.high is not None:
            line |= {f"{name}_low": cell.low, f"{name}_high": cell.high}
        if column.name in system.against:
            comparison = system.against[column.name]
            line |= {f"{name}_p": comparison.p_value, f"{name}_p_holm": comparison.p_holm}
    return line


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
