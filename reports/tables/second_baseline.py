"""Adds tests against a second baseline to tables, so that one table shows both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports.analysis import quality
from reports.tables.cells import Note
from reports.tables.grouped import change_of
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.analysis.estimates import Comparison
    from reports.analysis.values import Context, Group
    from reports.tables.cells import Cell, Row, Table


def against_second(tables: Sequence[Table], context: Context, baseline: str) -> list[Table]:
    """Return the tables with tests and marks against one more baseline.

    Tables of several groups stay as they are.

    Args:
        tables: tables of the context.
        context: the groups, with values by query.
        baseline: label or name of a system.

    Raises:
        UnknownNameError: no group has this system.
    """
    tests: dict[str, dict[str, dict[str, Comparison]]] = {}
    for group in context.groups:
        label = _label(group, baseline)
        if label is not None:
            tests[group.key] = quality.compare(_values(group, label), label)
    if not tests:
        labels = [
            table.label for group in context.groups for table in group.systems if table.quality.per_query
        ]
        raise UnknownNameError("system", baseline, dict.fromkeys(labels))
    return [
        _tested(table, tests[table.group], baseline) if table.group in tests else table for table in tables
    ]


def _label(group: Group, baseline: str) -> str | None:
    """Return the label of the group's system with this label or name; None if there is none."""
    labels = [
        system.label
        for system in group.systems
        if baseline in (system.label, system.name) and system.quality.per_query
    ]
    return next(iter(labels), None)


def _values(group: Group, baseline: str) -> dict[str, quality.PerQuery]:
    """Return the values by query and measure of the baseline and all systems but controls, by label."""
    return {
        system.label: dict(system.quality.per_query)
        for system in group.systems
        if system.quality.per_query and (system.role != "control" or system.label == baseline)
    }


def _tested(table: Table, tests: Mapping[str, Mapping[str, Comparison]], baseline: str) -> Table:
    """Return a table with the tests of its rows, by label, and a note on them."""
    measures = frozenset(measure for by_measure in tests.values() for measure in by_measure)
    text = f"† ‡ significantly above or below {baseline} (likewise, corrected on its own)"
    return replace(
        table,
        rows=tuple(_row(row, table, tests.get(row.label, {})) for row in table.rows),
        notes=(*table.notes[:1], Note(text, measures), *table.notes[1:]),
    )


def _row(row: Row, table: Table, tests: Mapping[str, Comparison]) -> Row:
    """Return a row with the tests of its cells, by measure."""
    cells = zip(table.columns, row.cells, strict=True)
    return replace(row, cells=tuple(_cell(cell, tests.get(head.name)) for head, cell in cells))


def _cell(cell: Cell, comparison: Comparison | None) -> Cell:
    """Return a cell with the mark and corrected p-value of a comparison; unchanged without one."""
    if comparison is None:
        return cell
    return replace(cell, second_change=change_of(comparison), second_p_holm=comparison.p_holm)
