"""Selects, orders and renames rows and columns of tables, and converts their unit of time.

shape = Shape(systems=("PE-Rank=Ours", "RankGPT"), columns=("nDCG@10", "p50=latency"), unit="s")
shaped(table, shape)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from reports.formats.numbers import significant
from reports.tables.grouped import ABOUT_CONTROLS
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reports.tables.cells import Cell, Head, Row, Table

Item = TypeVar("Item")
CONTROLS = "controls"
"""The name in `Shape.hidden` that stands for all controls."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A reader's choice of rows, columns, order, names and unit of time for a table.

    Attributes:
        systems: labels of the rows to keep, in order; `label=name` renames one. Empty keeps all.
        columns: names or titles of the columns to keep, in the same form.
        hidden: labels of rows and names of columns to leave out; `controls` stands for all controls.
        unit: unit of times; `s` converts milliseconds to seconds.
    """

    systems: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    unit: Literal["ms", "s"] = "ms"


def shaped(tables: Sequence[Table], shape: Shape) -> list[Table]:
    """Return tables with the rows, columns, names and unit of a shape.

    A table that lacks one of the systems or columns goes without it.

    Raises:
        UnknownNameError: no table has a system or a column of that name.
    """
    rows = {row.label for table in tables for row in table.rows}
    columns = {name for table in tables for head in table.columns for name in (head.name, head.title)}
    for kind, wanted, known_names in (("system", shape.systems, rows), ("column", shape.columns, columns)):
        for name in wanted:
            if _split(name, known_names)[0] not in known_names:
                raise UnknownNameError(kind, _split(name, known_names)[0], sorted(known_names))
    for name in shape.hidden:
        if name not in rows | columns | {CONTROLS}:
            raise UnknownNameError("system or column", name, sorted(rows | columns | {CONTROLS}))
    return [_shaped(table, shape) for table in tables]


def _split(wanted: str, known_names: set[str]) -> tuple[str, str | None]:
    """Split `name=new name` into both; (name, None) without a new name, or if a known name contains `=`."""
    name, equals, title = wanted.rpartition("=")
    return (name, title) if equals and wanted not in known_names else (wanted, None)


def _shaped(table: Table, shape: Shape) -> Table:
    """Return one table in a shape."""
    labels = {row.label for row in table.rows}
    rows = _chosen(table.rows, shape.systems, lambda row: (row.label,), labels)
    rows = [(row, name) for row, name in rows if not _is_hidden(row, shape)]
    titles = {name for head in table.columns for name in (head.name, head.title)}
    indices = _chosen(
        range(len(table.columns)),
        shape.columns,
        lambda index: (table.columns[index].name, table.columns[index].title),
        titles,
    )
    heads = [(index, table.columns[index], title) for index, title in indices]
    heads = [
        (index, head, title) for index, head, title in heads if not {head.name, head.title} & {*shape.hidden}
    ]
    names = {row.label: name for row, name in rows if name}
    notes = tuple(
        replace(note, text=_renamed(note.text, names))
        for note in table.notes
        if note != ABOUT_CONTROLS or any(row.role == "control" for row, _ in rows)
    )
    in_seconds = [shape.unit == "s" and head.unit == "ms" for _, head, _ in heads]
    return replace(
        table,
        notes=notes,
        footnotes=tuple((letter, _renamed(text, names)) for letter, text in table.footnotes),
        warnings=tuple(_renamed(warning, names) for warning in table.warnings),
        columns=tuple(
            replace(
                _head(head, title or names.get(head.title), bool(shape.columns), converted),
                section=_renamed(head.section, names),
            )
            for (_, head, title), converted in zip(heads, in_seconds, strict=True)
        ),
        rows=tuple(
            replace(
                row,
                label=name or row.label,
                cells=tuple(
                    _in_seconds(row.cells[index]) if converted else row.cells[index]
                    for (index, _, _), converted in zip(heads, in_seconds, strict=True)
                ),
            )
            for row, name in rows
        ),
    )


def _chosen(
    items: Sequence[Item],
    wanted: Sequence[str],
    names: Callable[[Item], Sequence[str]],
    known_names: set[str],
) -> list[tuple[Item, str | None]]:
    """Return (item, new name or None) for the wanted items in order; all items if `wanted` is empty.

    `names` returns the names that an item has.
    """
    if not wanted:
        return [(item, None) for item in items]
    chosen: list[tuple[Item, str | None]] = []
    for name, title in (_split(wanted_name, known_names) for wanted_name in wanted):
        chosen += [(item, title) for item in items if name in names(item)][:1]
    return chosen


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """Return a sentence with the new names of systems by their labels.

    All are replaced at once, the longest label first, and only where a label is not a part of a word.
    """
    if not names:
        return text
    labels = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{labels})(?!\w)", lambda match: names[match[0]], text)


def _is_hidden(row: Row, shape: Shape) -> bool:
    """Return whether a shape hides a row."""
    return row.label in shape.hidden or (row.role == "control" and CONTROLS in shape.hidden)


def _head(head: Head, title: str | None, is_wanted: bool, in_seconds: bool) -> Head:
    """Return a heading with a new title and unit; a column that the reader named is no detail."""
    return replace(
        head,
        title=title or head.title,
        unit="s" if in_seconds else head.unit,
        is_detail=head.is_detail and not is_wanted,
    )


def _in_seconds(cell: Cell) -> Cell:
    """Return a cell in milliseconds converted to seconds."""
    if cell.value is None:
        return cell
    value = cell.value / 1e3
    low, high = (None if end is None else end / 1e3 for end in (cell.low, cell.high))
    interval = "" if low is None or high is None else f"{significant(low)}–{significant(high)}"
    hint = f"95\u202f% interval {interval} s" if interval else ""
    return replace(
        cell, value=value, text=significant(value), low=low, high=high, interval=interval, hint=hint
    )
