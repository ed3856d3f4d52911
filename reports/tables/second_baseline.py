"""Marks for a second baseline: one table says what is significant against either of two systems."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports.analysis import quality
from reports.tables.cells import Note
from reports.tables.grouped import change_of
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.analysis.values import Comparison, Context, Group
    from reports.tables.cells import Cell, Row, Table


def against_second(tables: Sequence[Table], context: Context, baseline: str) -> list[Table]:
    """Return tables with the tests against one more baseline; tables of several groups stay as they are.

    Args:
        tables: of the context.
        context: where the values of each query are.
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
        known = [one.label for group in context.groups for one in group.systems if one.quality.per_query]
        raise UnknownNameError("system", baseline, dict.fromkeys(known))
    return [_tested(one, tests[one.group], baseline) if one.group in tests else one for one in tables]


def _label(group: Group, baseline: str) -> str | None:
    named = [
        one.label for one in group.systems if baseline in (one.label, one.name) and one.quality.per_query
    ]
    return next(iter(named), None)


def _values(group: Group, baseline: str) -> dict[str, quality.PerQuery]:
    return {
        one.label: dict(one.quality.per_query)
        for one in group.systems
        if one.quality.per_query and (one.role != "control" or one.label == baseline)
    }


def _tested(table: Table, tests: Mapping[str, Mapping[str, Comparison]], baseline: str) -> Table:
    measures = frozenset(measure for by_measure in tests.values() for measure in by_measure)
    text = f"† ‡ significantly above or below {baseline} (likewise, corrected on its own)"
    return replace(
        table,
        rows=tuple(_row(row, table, tests.get(row.label, {})) for row in table.rows),
        notes=(*table.notes[:1], Note(text, measures), *table.notes[1:]),
    )


def _row(row: Row, table: Table, tests: Mapping[str, Comparison]) -> Row:
    cells = zip(table.columns, row.cells, strict=True)
    return replace(row, cells=tuple(_cell(cell, tests.get(head.name)) for head, cell in cells))


def _cell(cell: Cell, comparison: Comparison | None) -> Cell:
    if comparison is None:
        return cell
    return replace(cell, second_change=change_of(comparison), second_p_holm=comparison.p_holm)
