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
    found = [line for one in tables(context, layout) for line in lines(one)]
    out = io.StringIO()
    writer = csv.DictWriter(
        out, list(dict.fromkeys(name for line in found for name in line)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def lines(one: Table) -> list[Line]:
    """A table's rows by column name."""
    return [_line(one, row) for row in one.rows]


def _line(one: Table, row: Row) -> Line:
    line: Line = {
        name: _text(value) if isinstance(value, str) else value for name, value in one.about.items()
    }
    notices = dict(one.footnotes)
    line |= {
        "system": _text(row.label),
        "reranker": _text(row.reranker),
        "status": row.status,
        "notice": _text(" ".join(notices[letter] for letter in row.notes)),
    }
    for head, cell in zip(one.columns, row.cells, strict=True):
        name = _text(head.name)
        if head.unit and head.unit != "×":
            name += f"_{head.unit}"
        if cell.is_word:
            line[name] = _text(cell.text)
        numbers = {
            "": cell.value,
            "_low": cell.low,
            "_high": cell.high,
            "_p": cell.p_value,
            "_p_holm": cell.p_holm,
        }
        line |= {f"{name}{suffix}": number for suffix, number in numbers.items() if number is not None}
    return line


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
