"""The chart of quality against the budget of thinking tokens of a reasoning model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports.charts.theme import MILLISECONDS, Spec, Theme, chart, level_axis, quality_axis
from reports.charts.trade_off import level_line
from reports.formats.numbers import count, fixed, significant

if TYPE_CHECKING:
    from reports.analysis.values import Group, SystemResult

BUDGET = "reasoning_tokens"


def thinking_curve(group: Group, theme: Theme) -> Spec | None:
    """Return the chart of the headline measure by thinking budget; None if no budget was varied.

    There is a line for each set of systems that differ in their budget alone.
    """
    measure = group.headline
    lines = {
        name: systems
        for name, systems in _lines(group, measure).items()
        if len({system.provenance.options[BUDGET] for system in systems}) > 1
    }
    if not lines:
        return None
    points = [_point(name, system, measure) for name, systems in lines.items() for system in systems]
    level = [
        {"y": system.quality.estimates[measure].value, "written": system.label}
        for system in group.systems
        if system.role == "first_stage" and measure in system.quality.estimates
    ]
    title = "Budget of thinking tokens a call"
    x, y = level_axis(title, [point["x"] for point in points]), quality_axis(measure)
    kind = {
        "field": "line",
        "type": "nominal",
        "scale": {"domain": list(lines)},
        "legend": {"columns": 1, "labelLimit": theme.room},
    }
    hover = [
        {"field": "name", "title": "System"},
        {"field": "x", "title": title},
        {"field": "used", "title": "Thinking tokens used per query"},
        {"field": "written", "title": measure},
        {"field": "latency", "title": "p50"},
    ]
    layers = [
        *level_line(level, theme),
        {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": {"x": x, "y": y, "color": kind}},
        {
            "mark": {"type": "rule", "stroke": theme.muted, "opacity": 0.45},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "point", "opacity": 1, "filled": True, "size": theme.point},
            "encoding": {"x": x, "y": y, "color": kind, "shape": kind, "tooltip": hover},
        },
    ]
    return chart(f"{measure} against thinking budget on {group.title}", theme, theme.height, points, layers)


def _lines(group: Group, measure: str) -> dict[str, list[SystemResult]]:
    """Return the systems with a thinking budget, grouped by reranker and other options, by line name."""
    by_options: dict[str, list[SystemResult]] = {}
    for system in group.systems:
        has_budget = isinstance(system.provenance.options.get(BUDGET), int)
        if system.role == "reranker" and has_budget and measure in system.quality.estimates:
            others = {name: value for name, value in system.provenance.options.items() if name != BUDGET}
            key = json.dumps([system.reranker, others], sort_keys=True, default=str)
            by_options.setdefault(key, []).append(system)
    rerankers = [systems[0].reranker for systems in by_options.values()]
    return {
        systems[0].reranker if rerankers.count(systems[0].reranker) == 1 else systems[0].label: systems
        for systems in by_options.values()
    }


def _point(line: str, system: SystemResult, measure: str) -> Spec:
    """Return the chart values of a system's point on a line."""
    quality = system.quality.estimates[measure]
    milliseconds = MILLISECONDS * system.timing.latency.p50.value if system.timing.latency else None
    return {
        "line": line,
        "name": system.label,
        "x": system.provenance.options[BUDGET],
        "y": quality.value,
        "low": quality.low if quality.low is not None else quality.value,
        "high": quality.high if quality.high is not None else quality.value,
        "written": fixed(quality.value, 4),
        "used": count(system.work.counts.get(BUDGET, 0.0)),
        "latency": "not measured" if milliseconds is None else f"{significant(milliseconds)} ms",
    }
