"""One table for each group: systems under columns read off them one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports.analysis.timing import STAGE_ORDER
from reports.formats.numbers import fixed, p_value, signed
from reports.tables.cells import Cell, Row, Table, lettered, marked
from reports.tables.columns import column, known_columns
from reports.tables.layouts import GROUPED, UnknownLayoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.values import Estimate, Group, SystemResult
    from reports.tables.cells import Change
    from reports.tables.columns import Column

_TIMED = GROUPED[1:]  # of rerankers alone


def table(group: Group, layout: str, *, narrow: bool = False) -> Table:
    """A group's systems in one of `GROUPED`, or under columns named in a list.

    Raises:
        UnknownLayoutError: neither a layout nor a column.
        UnknownNameError: an unknown column in a list.
    """
    systems = [system for system in group.systems if layout not in _TIMED or system.role == "reranker"]
    if layout == "stages":
        systems = [one for system in systems for one in (system, *_parts(system))]
    wanted = [column(name, group) for name in _names(group, layout)]
    if layout in GROUPED:
        wanted = [one for one in wanted if not (narrow and one.detail) and any(map(one.read, systems))]
    letters = lettered([system.notice for system in systems])
    columns = [_cells(one, systems, group) for one in wanted]
    rows = tuple(
        Row(
            label=system.label,
            role=system.role,
            reranker=system.reranker,
            status=system.status,
            notes=(letters[system.notice],) if system.notice else (),
            cells=tuple(cells[place] for cells in columns),
            replicates=system.replicates,
        )
        for place, system in enumerate(systems)
    )
    return Table(
        name=f"{layout if layout in GROUPED else 'columns'}-{group.key}",
        caption=_caption(group, layout),
        about=about(group),
        columns=tuple(one.head for one in wanted),
        rows=rows,
        footnotes=tuple((letter, notice) for notice, letter in letters.items()),
        legend=_legend(group, wanted, rows),
        warnings=group.warnings,
    )


def _parts(system: SystemResult) -> list[SystemResult]:
    """The rerankers that a system asks, as systems of which nothing but the stages is known."""
    return [
        replace(
            system,
            label=f"{system.label}: {part.name}",
            role="part",
            stages=part.stages,
            latency=None,
            notice=None,
        )
        for part in system.parts
    ]


def about(group: Group) -> dict[str, str | int]:
    """What the rows of a group share."""
    return {
        "dataset": group.dataset,
        "first_stage": group.first_stage,
        "depth": group.depth,
        "mode": group.mode,
        "pool": group.pool.digest,
    }


def _names(group: Group, layout: str) -> list[str]:
    if layout == "headline":
        return [
            *group.measures,
            "ties",
            "p50",
            "p95",
            "speedup",
            "requests_per_second",
            "dollars",
            "joules",
            "flops",
        ]
    if layout == "costs":
        time = ["p99", "mean", "queued", "first_token", "inter_token"]
        work = ["windows", "llm_calls", "sequential_calls", "calls_replayed", "calls_estimated", "retries"]
        work += [
            "prompt_tokens",
            "cached_tokens",
            "generated_tokens",
            "reasoning_tokens",
            "tokens_saved",
            "decode_steps",
        ]
        work += ["passages_embedded", "passages_from_store", "passages_truncated", "control_tokens"]
        work += ["well_formed", "faulty"]
        spent = ["dollars", "dollars_total", "joules", "flops", "bytes", "utilisation"]
        return [*time, *work, *spent, "load", "device_memory", "host_memory", "noise"]
    if layout == "stages":
        return [*(f"stage:{name}" for name in STAGE_ORDER), "mean", "p50"]
    if layout == "operations":
        return [f"{family}:{name}" for family in ("flops", "bytes", "utilisation") for name in STAGE_ORDER]
    names = [name.strip() for name in layout.split(",")]
    known = known_columns(group)
    if len(names) == 1 and layout not in known:
        raise UnknownLayoutError(layout, known)
    return names


def _cells(one: Column, systems: Sequence[SystemResult], group: Group) -> list[Cell]:
    """A column from top to bottom; controls never compete, nor does the first stage for speed."""
    cells = [_cell(one, system, group) for system in systems]
    if one.better is None:
        return cells
    on_quality = one.head.name in group.measures
    competing = [s.role == "reranker" or (on_quality and s.role == "first_stage") for s in systems]
    return marked(cells, competing, one.better)


def _cell(one: Column, system: SystemResult, group: Group) -> Cell:
    estimate = one.read(system)
    if estimate is None:
        return Cell()
    comparison = system.against.get(one.head.name)
    deviation = None if one.head.name.startswith("Judged") else system.spread.get(one.head.name)
    change: Change = ""
    interval = _interval(one, estimate)
    unit = f" {one.head.unit}" if one.head.unit else ""
    hints = [f"95\u202f% interval {interval}{unit}"] if interval else []
    if comparison is not None:
        if comparison.significant:
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
        change=change,
        p_value=comparison.p_value if comparison else None,
        p_holm=comparison.p_holm if comparison else None,
        interval=interval,
        spread=fixed(deviation, 4) if deviation is not None else "",
        deviation=deviation,
        hint=". ".join(hints),
    )


def _interval(one: Column, estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{one.text(estimate.low)}–{one.text(estimate.high)}"


def _caption(group: Group, layout: str) -> str:
    is_timed = any(system.latency for system in group.systems)
    what = {
        "headline": "Effectiveness and latency" if is_timed else "Effectiveness",
        "stages": "Mean time per query by stage",
        "costs": "Cost, energy and work per query",
        "operations": "Mean operations per query by stage, counted in a pass that is not timed",
    }.get(layout, "Results")
    judged = len(group.pool.qrels) or len(group.pool.queries)
    mode = f", {group.mode} mode" if is_timed else ""
    return f"{what} on {group.title} ({judged} queries{mode})."


def _legend(group: Group, columns: Sequence[Column], rows: Sequence[Row]) -> tuple[str, ...]:
    parts = []
    marks = {cell.mark for row in rows for cell in row.cells}
    if "best" in marks:
        parts.append("Best bold, second underlined" if "second" in marks else "Best bold")
    if any(one.head.name in group.measures for one in columns) and group.baseline and len(rows) > 1:
        parts.append(
            f"▲ ▼ significantly above or below {group.baseline} (paired t-test, Holm-corrected, 5\u202f%)"
        )
    if any(row.replicates > 1 for row in rows) and any(one.head.name in group.measures for one in columns):
        parts.append("± standard deviation over seeds")
    if any(one.head.name == "speedup" for one in columns) and group.reference:
        parts.append(f"Speed-up by p50 over {group.reference}")
    if any(one.head.name in ("p50", "mean") for one in columns) and group.before:
        shared = " and ".join(
            f"{stage.name} {column(f'stage:{stage.name}', group).text(1e3 * stage.seconds)} ms"
            for stage in group.before
        )
        parts.append(f"Latency of reranking alone; before it, {shared} per query")
    if any(row.role == "control" for row in rows):
        parts.append("Controls stand last and are never marked")
    return tuple(parts)
