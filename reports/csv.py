"""Tables as CSV: one line a system and table, full precision, an interval and a p-value beside each measure.

A text that a spreadsheet would take for a formula is defused with a leading apostrophe; numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from reports.tables import tables

if TYPE_CHECKING:
    from reports.cells import Row, Table
    from reports.values import Context

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Line = dict[str, str | int | float]


def render(context: Context, layout: str = "headline") -> str:
    """All tables of a layout, one under the other."""
    found = [_defused(line) for one in tables(context, layout) for line in lines(one)]
    out = io.StringIO()
    writer = csv.DictWriter(
        out, list(dict.fromkeys(name for line in found for name in line)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def lines(one: Table) -> list[Line]:
    """A table's rows by column name, every text as it is."""
    return [_line(one, row) for row in one.rows]


def _line(one: Table, row: Row) -> Line:
    line: Line = dict(one.about)
    notices = dict(one.footnotes)
    line |= {
        "system": row.label,
        "reranker": row.reranker,
        "status": row.status,
        "notice": " ".join(notices[letter] for letter in row.notes),
    }
    for head, cell in zip(one.columns, row.cells, strict=True):
        name = head.name
        if head.unit and head.unit != "×":
            name += f"_{head.unit}"
        if cell.is_word:
            line[name] = cell.text
        numbers = {
            "": cell.value,
            "_low": cell.low,
            "_high": cell.high,
            "_p": cell.p_value,
            "_p_holm": cell.p_holm,
        }
        line |= {f"{name}{suffix}": number for suffix, number in numbers.items() if number is not None}
    return line


def _defused(line: Line) -> Line:
    return {_text(name): _text(value) if isinstance(value, str) else value for name, value in line.items()}


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
