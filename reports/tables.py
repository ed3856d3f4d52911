"""Tables from a context: which columns a layout has, what is best, what is significant.

Writers (`latex`, `markdown`, `csv`, and the page's template) only print what stands here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmarks.store import read_results
from reports.columns import Column, column, known_columns
from reports.context import build
from reports.numbers import p_value, signed
from reports.timing import STAGE_ORDER
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reports.values import Context, Estimate, Group, Role, SystemResult

LAYOUTS = ("headline", "stages")
FORMATS = ("latex", "markdown", "csv")
ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table.

    Attributes:
        value: in the column's unit; None where the system has none.
        mark: best or second of the systems that compete in this column.
        change: whether the value is significantly above or below the baseline's.
        interval: `low–high` as text.
        hint: the interval and the comparison with the baseline, in words.
    """

    value: float | None = None
    text: str = ABSENT
    low: float | None = None
    high: float | None = None
    mark: Literal["", "best", "second"] = ""
    change: Literal["", "better", "worse"] = ""
    interval: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One system; `notes` are the letters of the footnotes that concern it."""

    label: str
    role: Role
    failed: bool
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One group in one layout.

    Attributes:
        name: identifier for labels, anchors and file names.
        sections: headings over neighbouring columns, with the number of columns each spans.
        footnotes: text by letter.
        changes: for each column, whether any cell of it has a `change`.
        legend: what marks, intervals and tests mean.
    """

    name: str
    caption: str
    group: Group
    columns: tuple[Column, ...]
    sections: tuple[tuple[str, int], ...]
    rows: tuple[Row, ...]
    footnotes: tuple[tuple[str, str], ...]
    changes: tuple[bool, ...]
    legend: tuple[str, ...]


def table(folders: Sequence[Path], format: str, layout: str = "headline", baseline: str | None = None) -> str:  # noqa: A002 - the command line's own word
    """Paper-ready tables of result folders, one per group.

    Args:
        folders: result folders.
        format: one of `FORMATS`.
        layout: one of `LAYOUTS`, or column names separated by commas.
        baseline: label of the system that tests refer to.

    Raises:
        InputError: an unknown format, layout, column or baseline, or a folder without results.
    """
    if format not in FORMATS:
        raise UnknownNameError("table format", format, FORMATS)
    context = build([read_results(folder) for folder in folders], baseline)
    text: str = importlib.import_module(f"reports.{format}").render(context, layout)
    return text


def tables(context: Context, layout: str, *, narrow: bool = False) -> list[Table]:
    """Every group in one layout; `narrow` leaves out the columns that are details."""
    return [_table(group, layout, narrow) for group in context.groups]


def _table(group: Group, layout: str, narrow: bool) -> Table:
    systems = [system for system in group.systems if layout != "stages" or system.role == "reranker"]
    wanted = [column(name, group) for name in _names(group, layout)]
    if layout in LAYOUTS:
        wanted = [one for one in wanted if not (narrow and one.detail) and any(map(one.read, systems))]
    notices = dict.fromkeys(system.notice for system in systems if system.notice)
    letters = {notice: chr(ord("a") + position) for position, notice in enumerate(notices)}
    marks = [_marks(one, systems) for one in wanted]
    rows = tuple(
        Row(
            label=system.label,
            role=system.role,
            failed=system.status != "done",
            notes=(letters[system.notice],) if system.notice else (),
            cells=tuple(
                _cell(one, system, group, mark.get(system.label, ""))
                for one, mark in zip(wanted, marks, strict=True)
            ),
        )
        for system in systems
    )
    sections: list[tuple[str, int]] = []
    for one in wanted:
        if sections and sections[-1][0] == one.section:
            sections[-1] = (one.section, sections[-1][1] + 1)
        else:
            sections.append((one.section, 1))
    return Table(
        name=f"{layout if layout in LAYOUTS else 'columns'}-{group.key}",
        caption=_caption(group, layout),
        group=group,
        columns=tuple(wanted),
        sections=tuple(sections),
        rows=rows,
        footnotes=tuple((letter, notice) for notice, letter in letters.items()),
        changes=tuple(any(row.cells[place].change for row in rows) for place in range(len(wanted))),
        legend=_legend(group, wanted, rows),
    )


def _names(group: Group, layout: str) -> list[str]:
    if layout == "headline":
        work = ["windows", "llm_calls", "prompt_tokens", "generated_tokens", "faulty"]
        return [*group.measures, "p50", "p95", "p99", "mean", "speedup", *work]
    if layout == "stages":
        return [*(f"stage:{name}" for name in STAGE_ORDER), "mean", "p50"]
    names = [name.strip() for name in layout.split(",")]
    known = known_columns(group)
    if len(names) == 1 and layout not in known:
        raise UnknownNameError("layout", layout, [*LAYOUTS, *known])
    return names


def _marks(one: Column, systems: Sequence[SystemResult]) -> dict[str, Literal["best", "second"]]:
    """Best and second by what is printed, so that equal numbers are marked alike; controls never compete."""
    if one.better is None:
        return {}
    quality = one.section == "Effectiveness"
    values = {
        system.label: estimate.value
        for system in systems
        if (system.role == "reranker" or (quality and system.role == "first_stage"))
        and (estimate := one.read(system)) is not None
    }
    texts = list(
        dict.fromkeys(one.text(value) for value in sorted(values.values(), reverse=one.better == "higher"))
    )
    if len(values) < 2:
        return {}
    places: dict[str, Literal["best", "second"]] = {texts[0]: "best"}
    if len(texts) > 1 and len(values) > 2:
        places[texts[1]] = "second"
    return {label: places[text] for label, value in values.items() if (text := one.text(value)) in places}


def _cell(one: Column, system: SystemResult, group: Group, mark: Literal["", "best", "second"]) -> Cell:
    estimate = one.read(system)
    if estimate is None:
        return Cell()
    comparison = system.against.get(one.name)
    change: Literal["", "better", "worse"] = ""
    hints = [_interval(one, estimate)] if estimate.low is not None else []
    if comparison is not None:
        if comparison.significant and one.better:
            change = "better" if comparison.difference > 0 else "worse"
        hints.append(
            f"{signed(comparison.difference, 4)} against {group.baseline}, "
            f"{p_value(comparison.p_holm)} (Holm); "
            f"{comparison.wins} wins, {comparison.ties} ties, {comparison.losses} losses"
        )
    return Cell(
        value=estimate.value,
        text=one.text(estimate.value),
        low=estimate.low,
        high=estimate.high,
        mark=mark,
        change=change,
        interval=f"{one.text(estimate.low)}–{one.text(estimate.high)}"
        if estimate.low is not None and estimate.high is not None
        else "",
        hint=". ".join(hints),
    )


def _interval(one: Column, estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    unit = f" {one.unit}" if one.unit else ""
    return f"95 % interval {one.text(estimate.low)} to {one.text(estimate.high)}{unit}"


def _caption(group: Group, layout: str) -> str:
    what = {
        "headline": "Effectiveness and latency",
        "stages": "Mean time per query by stage",
    }.get(layout, "Results")
    judged = len(group.pool.qrels) or len(group.pool.queries)
    return f"{what} on {group.title} ({judged} queries, {group.mode} mode)."


def _legend(group: Group, columns: Sequence[Column], rows: Sequence[Row]) -> tuple[str, ...]:
    parts = []
    marks = {cell.mark for row in rows for cell in row.cells}
    if "best" in marks:
        parts.append("Best bold, second underlined" if "second" in marks else "Best bold")
    if any(one.name in group.measures for one in columns) and group.baseline and len(rows) > 1:
        parts.append(
            f"▲ ▼ significantly above or below {group.baseline} (paired t-test, Holm-corrected, 5 %)"
        )
    if any(one.name == "speedup" for one in columns) and group.slowest:
        parts.append(f"Speed-up by p50 over {group.slowest}, the slowest")
    if any(one.name in ("p50", "mean") for one in columns) and group.before:
        shared = " and ".join(
            f"{stage.name} {column(f'stage:{stage.name}', group).text(1e3 * stage.seconds)} ms"
            for stage in group.before
        )
        parts.append(f"Latency of reranking alone; before it, {shared} per query")
    if any(row.role == "control" for row in rows):
        parts.append("Controls stand last and are never marked")
    return tuple(parts)
