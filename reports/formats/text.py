"""Writes tables as aligned plain text for a terminal.

A table that is too wide continues under its columns.
"""

from __future__ import annotations

import shutil
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reports.tables.cells import Cell, Row, Table

WIDTH = 100
"""Assumed columns of a terminal whose width is unknown."""

_GAP = "  "
_NAME = 40  # characters of a system's name; longer ones are cut


def render(tables: Sequence[Table], width: int = WIDTH) -> str:
    """Return tables as plain text, one under the other, without columns that are details.

    Args:
        tables: the tables.
        width: columns of the terminal.
    """
    return "\n\n".join(
        "\n".join(_lines(narrow, width))
        for table in tables
        for narrow in [table.without_details()]
        if narrow.columns or not table.columns
    )


def on_terminal(tables: Sequence[Table]) -> str:
    """Return tables as plain text, as wide as the terminal."""
    return render(tables, terminal_width())


def terminal_width() -> int:
    """Return the number of columns of the terminal."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def wrapped(sentence: str, width: int = WIDTH) -> list[str]:
    """Break a sentence at spaces into lines of at most `width` columns; a longer word has its own line."""
    lines = [""]
    for word in sentence.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and columns_of(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _lines(table: Table, width: int) -> Iterator[str]:
    """Yield the lines of one table: caption, header, rows and notes."""
    yield from wrapped(table.caption, width)
    yield ""
    names = ["", table.row_title, *(_name(row) for row in table.rows)]
    columns = [_column(table, place) for place in range(len(table.columns))]
    for part in _parts(names, columns, width):
        for line, texts in enumerate(zip(names, *part, strict=True)):
            if line == 0 and not any(texts):
                continue
            name, *cells = texts
            yield _line(name, cells, [names, *part])
            if line == 1:
                yield "─" * (sum(map(_widest, [names, *part])) + len(_GAP) * len(part))
        yield ""
    notes = [*table.explained, *(f"{letter}: {text}" for letter, text in table.footnotes)]
    for note in [*([". ".join(notes) + "."] if notes else []), *table.warnings]:
        yield from wrapped(note, width)


def _column(table: Table, index: int) -> list[str]:
    """Return the texts of a column from top to bottom: unit, title, and cells."""
    head = table.columns[index]
    titles = [other.title for other in table.columns]
    title = f"{head.section}: {head.title}" if titles.count(head.title) > 1 and head.section else head.title
    of_rows = [row.cells[index] for row in table.rows]
    room = max((len(cell.changes) for cell in of_rows), default=0)
    unchanged = " " * room
    cells = [_cell(cell, is_first=index == 0) + " " * (room - len(cell.changes)) for cell in of_rows]
    return [f"({head.unit})" if head.unit else "", title + unchanged, *cells]


def _parts(names: list[str], columns: list[list[str]], width: int) -> Iterator[list[list[str]]]:
    """Yield the columns in parts that each fit beside the names within `width`."""
    part: list[list[str]] = []
    room = free = width - _widest(names)
    for column in columns:
        needed = len(_GAP) + _widest(column)
        if part and needed > free:
            yield part
            part, free = [], room
        part.append(column)
        free -= needed
    if part:
        yield part


def _line(name: str, cells: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """Return a line of the table: the name left-aligned, cells right-aligned to their columns."""
    padded = [_padded(name, _widest(columns[0]))]
    padded += [
        _padded(cell, _widest(column), is_number=True)
        for cell, column in zip(cells, columns[1:], strict=True)
    ]
    return _GAP.join(padded).rstrip()


def _name(row: Row) -> str:
    """Return a row's name, cut to 40 columns, with status and footnote letters."""
    name = row.name if columns_of(row.name) <= _NAME else f"{row.name[: _NAME - 1]}…"
    status = "" if row.status in ("done", "published") else f" ({row.status})"
    return name + status + "".join(f" {letter}" for letter in row.notes)


def _cell(cell: Cell, *, is_first: bool) -> str:
    """Return a cell's text with spread, marks and, in the first column, the interval."""
    interval = f" [{cell.interval}]" if is_first and cell.interval else ""
    spread = f" ± {cell.spread}" if cell.spread else ""
    return cell.text + spread + interval + cell.changes


def _widest(column: Sequence[str]) -> int:
    """Return the width of the widest text, in terminal columns."""
    return max(map(columns_of, column))


def _padded(text: str, width: int, *, is_number: bool = False) -> str:
    """Return a text padded with spaces to a width, numbers on the left."""
    blank = " " * (width - columns_of(text))
    return blank + text if is_number else text + blank


def columns_of(text: str) -> int:
    """Return the number of terminal columns of a text: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
