"""The lines that `rerankbench run` prints after a run: findings, and a table of the systems."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.analysis.timing import noisy
from reports.formats.text import render, terminal_width, wrapped
from reports.tables.grouped import with_values
from reports.tables.layouts import datasets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reports.analysis.values import Group
    from reports.tables.cells import Table

COLUMNS = ("p50", "p95", "speedup", "requests_per_second", "faulty")
"""Columns of the table, beside the headline measure."""

SEPARATE = 3
"""Most groups that get a table each; more groups share the table of datasets."""


def answer(folder: Path) -> Iterator[str]:
    """Yield the lines on the results of a folder: findings and tables; nothing if no system is done.

    Raises:
        StoreError: the folder is damaged.
    """
    width = terminal_width()
    context = build([read_results(folder)])
    groups = [group for group in context.groups if any(system.status == "done" for system in group.systems)]
    for group in groups:
        yield ""
        if len(groups) > 1:
            yield group.title
        for sentence in [*group.findings, *noisy(group.systems)]:
            yield from wrapped("".join(sentence), width)
        if len(groups) <= SEPARATE:
            yield from ("", *render([_table(group)], width).rstrip().splitlines())
    if len(groups) > SEPARATE:
        yield from ("", *render(datasets.tables(context), width).splitlines())
    if groups:
        yield ""


def _table(group: Group) -> Table:
    """Return a group's table of the headline measure and `COLUMNS`, without warnings."""
    table = with_values(group, "answer", (group.headline, *COLUMNS), "Results")
    heads = tuple(replace(head, is_detail=False) for head in table.columns)
    return replace(table, columns=heads, warnings=())
