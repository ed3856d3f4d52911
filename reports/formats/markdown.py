"""Writes tables as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.tables.cells import Cell, Row, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#&$~])")


def render(tables: Sequence[Table]) -> str:
    """Return tables as Markdown, one under the other, without columns that are details."""
    return "\n".join(
        _render(narrow)
        for table in tables
        for narrow in [table.without_details()]
        if narrow.columns or not table.columns
    )


def escape(text: str) -> str:
    """Return a text escaped so that Markdown prints exactly it, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _render(table: Table) -> str:
    """Return one table as Markdown, with legend, footnotes and warnings below."""
    titles = [column.title for column in table.columns]
    if len(set(titles)) < len(titles):  # there is no heading over headings in Markdown
        titles = [f"{column.section}: {column.title}" for column in table.columns]
    units = [f" ({escape(column.unit)})" if column.unit else "" for column in table.columns]
    heads = [escape(title) + unit for title, unit in zip(titles, units, strict=True)]
    lines = [
        f"**{escape(table.caption)}**",
        "",
        "| " + " | ".join([table.row_title, *heads]) + " |",
        "| :-- |" + " --: |" * len(heads),
        *(_row(row) for row in table.rows),
        "",
    ]
    if table.legend:
        lines += [escape(". ".join(table.legend)) + ".", ""]
    for letter, text in table.footnotes:
        lines += [f"<sup>{letter}</sup> {escape(text)}", ""]
    lines += [f"> {escape(warning)}\n" for warning in table.warnings]
    return "\n".join(lines)


def _row(row: Row) -> str:
    """Return a row as a line of Markdown, a control in italics."""
    label = escape(row.name) + "".join(f"<sup>{letter}</sup>" for letter in row.notes)
    if row.role == "control":
        label = f"*{label}*"
    return "| " + " | ".join([label, *map(_cell, row.cells)]) + " |"


def _cell(cell: Cell) -> str:
    """Return a cell as Markdown, the best bold and the second underlined."""
    text = escape(cell.text)
    if cell.mark == "best":
        text = f"**{text}**"
    elif cell.mark == "second":
        text = f"<ins>{text}</ins>"
    if cell.spread:
        text += f" ± {cell.spread}"
    return text + cell.changes
