"""Tables by name, from a context or straight from result folders.

Layouts: `headline`, `stages`, `costs` and `operations` make a table for each group, as does a list of column
names; `datasets` puts the headline measure of all groups side by side; `significance` compares every pair of
systems of a group; `ablation` makes a table for each setting that takes several values; `published` lists
others' figures on the same data, `reproduction` those that a system here reproduces, or should.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from benchmarks.evaluation.measures import expand
from benchmarks.measuring.progress import say
from benchmarks.results.store import read_results
from reports.analysis import ablation, published
from reports.analysis.context import build
from reports.tables import grouped, matrices
from reports.tables.columns import COLUMNS
from reports.tables.layouts import LAYOUTS
from rerankers.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reports.analysis.values import Context
    from reports.tables.cells import Table

FORMATS = ("latex", "markdown", "csv")

_NEEDED = {
    "stages": "nobody measured a latency",
    "costs": "nobody measured what a query takes",
    "operations": "nobody counted operations; set count_operations in the experiment file",
    "ablation": "no option, first stage or depth takes two values while all else stays",
    "published": "no published figures are known for these datasets; see reports/published/",
    "reproduction": "no system here is one whose figures on these datasets are known; see reports/published/",
}


def table(folders: Sequence[Path], format: str, layout: str = "headline", baseline: str | None = None) -> str:  # noqa: A002 - the command line's own word
    """Paper-ready tables of result folders; what CSV has no room for, its warnings, goes to standard error.

    Args:
        folders: result folders.
        format: one of `FORMATS`.
        layout: one of `LAYOUTS`, or column names separated by commas; any measure of ir_measures is one.
        baseline: label of the system that tests refer to.

    Raises:
        InputError: an unknown format, layout, column or baseline, or a folder without results.
    """
    if format not in FORMATS:
        raise UnknownNameError("table format", format, FORMATS)
    layout = _spelled(layout)
    context = build([read_results(folder) for folder in folders], baseline, _measures(layout))
    found = tables(context, layout)
    if not found:
        raise InputError(
            f"nothing here for the layout {layout!r}: {_NEEDED.get(layout, 'no judged queries')}"
        )
    if format == "csv":
        for warning in dict.fromkeys(warning for one in found for warning in one.warnings):
            say(warning)
    text: str = importlib.import_module(f"reports.formats.{format}").render(context, layout)
    return text


def tables(context: Context, layout: str, *, narrow: bool = False) -> list[Table]:
    """A layout's tables; `narrow` leaves out the columns that are details.

    Raises:
        UnknownLayoutError: neither a layout nor a column.
        UnknownNameError: an unknown column in a list.
    """
    if layout == "datasets":
        return matrices.datasets(context)
    if layout == "significance":
        return [matrices.significance(group) for group in context.groups if group.pool.qrels]
    if layout == "ablation":
        return ablation.tables(context)
    if layout in ("published", "reproduction"):
        return [one for group in context.groups for one in published.tables(group, layout)]
    found = [grouped.table(group, layout, narrow=narrow) for group in context.groups]
    return [one for one in found if one.columns or layout == "headline"]


def _spelled(layout: str) -> str:
    """A list of columns with its measures as ir_measures prints them; other names stay as they are."""
    if layout in LAYOUTS:
        return layout
    names: list[str] = []
    for name in map(str.strip, layout.split(",")):
        names += [name] if _is_column(name) else _measures(name) or [name]
    return ",".join(names)


def _measures(layout: str) -> list[str]:
    """The measures that a list of columns names; what is no measure is left for the layout to refuse."""
    found = []
    for name in () if layout in LAYOUTS else map(str.strip, layout.split(",")):
        try:
            found += [] if _is_column(name) else expand(name)
        except InputError:
            continue
    return found


def _is_column(name: str) -> bool:
    return name in COLUMNS or ":" in name
