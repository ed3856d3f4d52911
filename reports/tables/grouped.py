"""Builds tables of one group: one row per system, and columns that read one value from each system."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports.formats.numbers import fixed, p_value, signed
from reports.tables.cells import Cell, Note, Row, Table, lettered, marked
from reports.tables.columns import column

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from reports.analysis.estimates import Comparison, Estimate
    from reports.analysis.values import Context, Group, SystemResult
    from reports.tables.cells import Change
    from reports.tables.columns import Column


NOT_TIMED = "the first stage was not timed"
ABOUT_CONTROLS = Note("Controls stand last and are never marked")


def of_rerankers(context: Context, name: str, names: Sequence[str], subject: str) -> list[Table]:
    """Build a table of a group's rerankers for each group, without columns that have no value.

    Groups without any value have no table.

    Args:
        context: the groups.
        name: the layout's name.
        names: column names.
        subject: first words of the caption.
    """
    timed = [
        replace(group, systems=tuple(entry for entry in group.systems if entry.role in ("reranker", "part")))
        for group in context.groups
    ]
    built = [with_values(group, name, names, subject) for group in timed]
    return [entry for entry in built if entry.columns]


def with_values(group: Group, name: str, names: Sequence[str], subject: str) -> Table:
    """Build a group's table for a named layout, without columns that have no value.

    Columns that are details are marked as such.
    """
    columns = [column(name, group) for name in names]
    columns = [
        replace(entry, head=replace(entry.head, is_detail=entry.detail))
        for entry in columns
        if any(map(entry.read, group.systems))
    ]
    return _table(group, name, columns, subject)


def table(group: Group, name: str, names: Sequence[str], subject: str) -> Table:
    """Build a group's table with exactly the columns of these names.

    Raises:
        UnknownNameError: no column has this name.
    """
    return _table(group, name, [column(name, group) for name in names], subject)


def _table(group: Group, name: str, columns: Sequence[Column], subject: str) -> Table:
    """Build a group's table from columns, with caption, notes and warnings."""
    systems = group.systems
    letters = lettered([system.notice for system in systems])
    cells = [_cells(column, systems, group) for column in columns]
    rows = tuple(
        Row.of(system, (of_column[index] for of_column in cells), letters)
        for index, system in enumerate(systems)
    )
    is_timed = any(system.timing.latency for system in systems)
    judged = len(group.pool.qrels) or len(group.pool.queries)
    return Table(
        name=f"{name}-{group.key}",
        caption=f"{subject} on {group.title} ({judged} queries{f', {group.mode} mode' if is_timed else ''}).",
        about=about(group),
        columns=tuple(column.head for column in columns),
        rows=rows,
        footnotes=tuple((letter, notice) for notice, letter in letters.items()),
        notes=tuple(_notes(group, rows)),
        warnings=group.warnings,
        group=group.key,
    )


def about(group: Group) -> dict[str, str | int]:
    """Return the settings that all rows of a group share, by name."""
    return {
        "dataset": group.dataset,
        "first_stage": group.first_stage,
        "depth": group.depth,
        "mode": group.mode,
        "pool": group.pool.digest,
    }


def tests_against(baselines: Collection[str]) -> str:
    """Return the legend's sentence on the marks of significant changes against these baselines."""
    labels = " or ".join(baselines)
    return f"▲ ▼ significantly above or below {labels} (paired t-test, Holm-corrected, 5\u202f%)"


def change_of(comparison: Comparison | None) -> Change:
    """Return `better` or `worse` if a comparison is significant, else ""."""
    if comparison is None or not comparison.significant:
        return ""
    return "better" if comparison.difference > 0 else "worse"


def _cells(column: Column, systems: Sequence[SystemResult], group: Group) -> list[Cell]:
    """Return a column's cells, one per system, the best marked among the systems that compete.

    Controls never compete; the first stage competes on quality only.
    """
    cells = [_cell(column, system, group) for system in systems]
    if column.better is None:
        return cells
    on_quality = column.head.name in group.measures
    competing = [s.role == "reranker" or (on_quality and s.role == "first_stage") for s in systems]
    return marked(cells, competing, column.better)


def _cell(column: Column, system: SystemResult, group: Group) -> Cell:
    """Return a system's cell in a column, with interval and test; empty if it has no value."""
    estimate = column.read(system)
    if estimate is None:
        return Cell()
    comparison = system.quality.against.get(column.head.name)
    deviation = None if column.head.name.startswith("Judged") else system.quality.spread.get(column.head.name)
    interval = _interval(column, estimate)
    unit = f" {column.head.unit}" if column.head.unit else ""
    hints = [f"95\u202f% interval {interval}{unit}"] if interval else []
    if comparison is not None:
        hints.append(
            f"{signed(comparison.difference, 4)} against {group.baseline}, "
            f"{p_value(comparison.p_holm)} (Holm); "
            f"{comparison.wins} wins, {comparison.ties} ties, {comparison.losses} losses"
        )
    return Cell(
        value=estimate.value,
        text=column.text(estimate.value),
        low=estimate.low,
        high=estimate.high,
        change=change_of(comparison),
        p_value=comparison.p_value if comparison else None,
        p_holm=comparison.p_holm if comparison else None,
        interval=interval,
        spread=fixed(deviation, 4) if deviation is not None else "",
        deviation=deviation,
        hint=". ".join(hints),
    )


def _interval(column: Column, estimate: Estimate) -> str:
    """Return an estimate's interval as text; "" if it has none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{column.text(estimate.low)}–{column.text(estimate.high)}"


def _about_retrieval(group: Group) -> str:
    """Return what happened before reranking and is in no latency, with its time, or that nobody took it."""
    shared = " and ".join(
        f"{stage.name} {column(f'stage:{stage.name}', group).text(1e3 * stage.seconds)} ms"
        for stage in group.before
    )
    before = f"; before it, {shared} per query" if shared else ""
    return f"Latency of reranking alone{before}{'' if group.is_retrieval_timed else f'; {NOT_TIMED}'}"


def _notes(group: Group, rows: Sequence[Row]) -> list[Note]:
    """Return the notes of a group's legend: tests, seeds, speed-ups, stored embeddings, arrivals."""
    measures = frozenset(group.measures)
    notes = []
    if group.baseline and len(rows) > 1:
        notes.append(Note(tests_against([group.baseline]), measures))
    if any(row.replicates > 1 for row in rows):
        notes.append(Note("± standard deviation over seeds", measures))
    if group.reference:
        by = "median time per query" if group.mode == "throughput" else "p50"
        notes.append(Note(f"Speed-up by {by} over {group.reference}", frozenset({"speedup"})))
    stored = [system.label for system in group.systems if system.is_precomputed and system.timing.latency]
    if stored:
        notes.append(
            Note(
                f"Passage embeddings computed beforehand, in no latency: {', '.join(stored)}",
                frozenset({"p50", "mean", "speedup"}),
            )
        )
    served = [system.timing.served for system in group.systems if system.timing.served]
    if served:
        arrivals = " and ".join(dict.fromkeys(load.arrivals for load in served))
        slos = "".join(f"; SLO {slo}" for slo in dict.fromkeys(load.slo for load in served) if slo)
        notes.append(Note(f"Arrivals: {arrivals}{slos}"))
    notes.append(Note(_about_retrieval(group), frozenset({"p50", "mean"})))
    if any(row.role == "control" for row in rows):
        notes.append(ABOUT_CONTROLS)
    return notes
