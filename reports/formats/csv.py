"""Writes tables as CSV: one line per system, full precision, with interval and p-values of each measure.

A text that a spreadsheet would take for a formula is defused with a leading apostrophe; numbers stay numbers.
Spreadsheets pass over white space in front of a sign, and some read full-width signs as plain ones.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING
from unicodedata import category, normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.tables.cells import Line, Table

_SIGNS = ("=", "+", "-", "@")
_CONTROLS = ("\t", "\r", "\n")


def render(tables: Sequence[Table]) -> str:
    """Return tables as one CSV, one under the other, with the union of their columns."""
    lines = [_defused(line) for table in tables for line in table.lines()]
    out = io.StringIO()
    writer = csv.DictWriter(
        out, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _defused(line: Line) -> Line:
    """Return a row whose texts a spreadsheet does not take for formulas."""
    return {_text(name): _text(value) if isinstance(value, str) else value for name, value in line.items()}


def _text(value: str) -> str:
    """Return a text, after an apostrophe if a spreadsheet would take it for a formula."""
    is_formula = value.startswith(_CONTROLS) or _visible(value).startswith(_SIGNS)
    return f"'{value}" if is_formula else value


def _visible(value: str) -> str:
    """Return a text without leading white space and controls, full-width characters as plain ones."""
    first = next((place for place, sign in enumerate(value) if category(sign)[0] not in "ZC"), len(value))
    return normalize("NFKC", value[first:])
