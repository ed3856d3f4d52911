"""Builds tables by the name of a layout: a registered one, `module:function`, or a list of columns.

Any measure of ir_measures is a column, also if the experiment did not name it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.evaluation.measures import expand
from benchmarks.measuring.progress import say
from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats import csv, latex, markdown, text
from reports.formats.measured import HOW_WE_MEASURED, how_we_measured
from reports.tables import grouped
from reports.tables.columns import COLUMNS, FAMILIES, known_columns
from reports.tables.registry import LAYOUTS, UnknownLayoutError
from reports.tables.second_baseline import against_second
from reports.tables.shaping import shaped
from rerankers.errors import InputError, UnknownNameError
from rerankers.registry import own_object

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reports.analysis.values import Context, Group
    from reports.tables.cells import Table
    from reports.tables.registry import Build
    from reports.tables.shaping import Shape

FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "text": text.on_terminal,
    "latex": latex.render,
    "markdown": markdown.render,
    "csv": csv.render,
}


class Tables:
    """A lazy mapping from layout name to the tables of a context; each layout is built once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._built: dict[str, list[Table]] = {}

    def __getitem__(self, layout: str) -> list[Table]:
        if layout not in self._built:
            self._built[layout] = tables(self._context, layout)
        return self._built[layout]

    def by_group(self, layout: str) -> dict[str, Table]:
        """Return a layout's tables by the key of the group that each shows."""
        return {table.group: table for table in self[layout]}


def tables(context: Context, layout: str) -> list[Table]:
    """Build the tables of a layout; empty if the context has no data for it.

    Args:
        context: the groups and their systems.
        layout: one of `LAYOUTS`, `module:function` of the user's own, or column names separated by commas.

    Raises:
        UnknownLayoutError: neither a layout nor a column.
        UnknownNameError: an unknown column in a list.
        InputError: the user's own function cannot be found.
    """
    if layout in LAYOUTS:
        return LAYOUTS[layout].load()(context)
    if is_own(layout):
        build_own: Build = own_object(layout, "layout")
        return build_own(context)
    built = [grouped.table(group, "columns", _columns(group, layout), "Results") for group in context.groups]
    return [table for table in built if table.columns]


def table(
    folders: Sequence[Path],
    format: str,  # noqa: A002 - the command line's own word
    layout: str = "headline",
    baselines: Sequence[str] = (),
    shape: Shape | None = None,
) -> str:
    """Build the tables of result folders and return them as text in one format.

    Warnings that a CSV cannot hold are printed.

    Args:
        folders: result folders.
        format: one of `FORMATS`.
        layout: one of `LAYOUTS`, `module:function`, or column names separated by commas.
        baselines: labels of up to two systems that tests refer to; the first stage by default.
        shape: choice, order and names of rows and columns.

    Raises:
        InputError: an unknown format, layout, column, system or baseline, or a folder without results.
    """
    if format not in FORMATS:
        raise UnknownNameError("table format", format, FORMATS)
    layout = _spelled(layout)
    first, second, *more = *baselines, None, None
    if any(more):
        raise InputError(f"{len(baselines)} baselines were given. A table has room for two")
    context = build([read_results(folder) for folder in folders], first, _measures(layout))
    if layout == HOW_WE_MEASURED:
        return how_we_measured(context, format)
    built = tables(context, layout)
    built = against_second(built, context, second) if second else built
    built = shaped(built, shape) if shape else built
    if not built:
        reason = LAYOUTS[layout].needs if layout in LAYOUTS else "no cell can be read"
        raise InputError(f"nothing here for the layout {layout!r}: {reason}")
    if format == "csv":
        for warning in dict.fromkeys(warning for built_table in built for warning in built_table.warnings):
            say(warning)
    return FORMATS[format](built)


def _columns(group: Group, layout: str) -> list[str]:
    """Split a list of column names; raise UnknownLayoutError for a single name that is no column."""
    names = [name.strip() for name in layout.split(",")]
    columns_by_name = known_columns(group)
    if len(names) == 1 and layout not in columns_by_name:
        raise UnknownLayoutError(layout, columns_by_name)
    return names


def is_own(layout: str) -> bool:
    """Return whether a layout is `module:function` of the user's own, not a column such as `stage:decode`."""
    module, colon, function = layout.partition(":")
    return bool(colon and function) and "," not in layout and module not in FAMILIES


def _spelled(layout: str) -> str:
    """Return a list of columns with measures spelt as in ir_measures; layout names are returned unchanged."""
    if layout in (*LAYOUTS, HOW_WE_MEASURED) or is_own(layout):
        return layout
    names: list[str] = []
    for name in map(str.strip, layout.split(",")):
        names += [name] if _is_column(name) else _measures(name) or [name]
    return ",".join(names)


def _measures(layout: str) -> list[str]:
    """Return the measures in a list of columns, presets expanded; unknown names are skipped."""
    measures = []
    is_list = layout not in (*LAYOUTS, HOW_WE_MEASURED) and not is_own(layout)
    for name in map(str.strip, layout.split(",")) if is_list else ():
        try:
            measures += [] if _is_column(name) else expand(name)
        except InputError:
            continue
    return measures


def _is_column(name: str) -> bool:
    """Return whether a name is a column other than a measure."""
    return name in COLUMNS or name.partition(":")[0] in FAMILIES
