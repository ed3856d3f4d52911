"""The chart of quality against latency, with its Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.charts.labels import SIDES, number_the_others, place_labels, shortened
from reports.charts.theme import MILLISECONDS, Spec, Theme, chart, log_axis, quality_axis
from reports.formats.numbers import fixed, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.values import Group, SystemResult


def trade_off(group: Group, theme: Theme) -> Spec | None:
    """Return the chart of the headline measure against p50 on a log axis; None if no reranker has both.

    It has intervals, the Pareto front and the first stage's level.
    """
    measure = group.headline
    systems = [
        s
        for s in group.systems
        if s.role == "reranker" and s.timing.latency and measure in s.quality.estimates
    ]
    if not systems:
        return None
    front = pareto(systems, measure)
    points = [_point(system, measure, system in front) for system in systems]
    level = [
        {
            "y": s.quality.estimates[measure].value,
            "written": f"{s.label}, {fixed(s.quality.estimates[measure].value, 3)}",
        }
        for s in group.systems
        if s.role == "first_stage" and measure in s.quality.estimates
    ]
    subject = "time per query in a batch" if group.mode == "throughput" else "latency per query"
    x = log_axis("x", f"Median {subject} (ms, log scale)", [point["x"] for point in points])
    ends = [point[end] for point in points for end in ("low", "high")] + [marker["y"] for marker in level]
    y_domain = [min(ends) - 0.02, max(ends) + 0.02]
    place_labels(points, x["scale"]["domain"], y_domain, theme)
    key = number_the_others(points)
    y = quality_axis(measure, y_domain)
    layers = [
        *level_line(level, theme),
        front_line(x, y, theme),
        {
            "mark": {"type": "rule", "stroke": theme.muted, "opacity": 0.45},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        *_names(x, y, theme, halo=True),
        *_names(x, y, theme, halo=False),
        _marks(x, y, measure, sorted({system.reranker for system in systems}), theme),
        *_numbers(x, y, key, theme),
    ]
    drawn = chart(f"{measure} against median {subject} on {group.title}", theme, theme.height, points, layers)
    return {**drawn, "title": _key(key, theme)} if key else drawn


def pareto(systems: Sequence[SystemResult], measure: str) -> list[SystemResult]:
    """Return the systems that no other beats in both the measure and p50, fastest first."""
    front = pareto_points([(_p50(system), system.quality.estimates[measure].value) for system in systems])
    by_point = {
        (_p50(system), system.quality.estimates[measure].value): system for system in reversed(systems)
    }
    return [by_point[point] for point in front]


def pareto_points(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, gain) points that no other point beats in both, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front


def _p50(system: SystemResult) -> float:
    """Return a system's median latency in seconds; 0 if it was not measured."""
    return system.timing.latency.p50.value if system.timing.latency else 0.0


def _point(system: SystemResult, measure: str, on_front: bool) -> Spec:
    """Return the chart values of a system's point."""
    quality = system.quality.estimates[measure]
    low, high = quality.low or 0.0, quality.high or 0.0
    milliseconds = MILLISECONDS * _p50(system)
    return {
        "name": system.label,
        "short": shortened(system.label),
        "method": system.reranker,
        "x": milliseconds,
        "y": quality.value,
        "low": low,
        "high": high,
        "front": on_front,
        "quality": f"{fixed(quality.value, 4)} ({fixed(low, 3)} to {fixed(high, 3)})",
        "latency": f"{significant(milliseconds)} ms",
        "place": "on the Pareto front" if on_front else "another system is faster and better",
    }


def level_line(values: list[Spec], theme: Theme) -> list[Spec]:
    """Return the layers of a horizontal line at the first stage's value, named at its left end."""
    y = {"y": {"field": "y", "type": "quantitative"}}
    line = {"type": "rule", "stroke": theme.muted, "strokeDash": [6, 4]}
    name = {"type": "text", "align": "left", "dx": 4, "dy": -theme.text / 2 - 2}
    inks = ({"stroke": theme.ground, "strokeWidth": 4, "fill": theme.ground}, {"fill": theme.muted})
    text = {**y, "x": {"value": 0}, "text": {"field": "written"}}
    return [
        {"data": {"values": values}, "mark": line, "encoding": y},
        *({"data": {"values": values}, "mark": {**name, **ink}, "encoding": text} for ink in inks),
    ]


def front_line(x: Spec, y: Spec, theme: Theme) -> Spec:
    """Return the layer of a stepped line along the points whose `front` is true."""
    return {
        "transform": [{"filter": "datum.front"}],
        "mark": {
            "type": "line",
            "interpolate": "step-after",
            "stroke": theme.muted,
            "strokeDash": [1, 3],
            "strokeWidth": 1.5,
        },
        "encoding": {"x": x, "y": y, "order": {"field": "x", "type": "quantitative"}},
    }


def _names(x: Spec, y: Spec, theme: Theme, halo: bool) -> list[Spec]:
    """Return layers with the names beside points, one per side.

    With `halo`, only the halo behind the names.
    """
    ink: Spec = (
        {"stroke": theme.ground, "strokeWidth": 4, "fill": theme.ground} if halo else {"fill": theme.ink}
    )
    return [
        {
            "transform": [{"filter": f"datum.side == '{side}'"}],
            "mark": {"type": "text", "aria": False, **ink, **options},
            "encoding": {"x": x, "y": y, "text": {"field": "short"}},
        }
        for side, options in SIDES.items()
    ]


def _numbers(x: Spec, y: Spec, key: list[str], theme: Theme) -> list[Spec]:
    """Return the layer with the numbers of points that the key names, as a list; empty without a key."""
    mark = {"type": "text", "aria": False, "fill": theme.ink, "fontSize": theme.text - 1, "dx": 7, "dy": -6}
    numbered = {"transform": [{"filter": "isValid(datum.number)"}], "mark": mark}
    return [{**numbered, "encoding": {"x": x, "y": y, "text": {"field": "number"}}}] if key else []


def _key(lines: list[str], theme: Theme) -> Spec:
    """Return a chart title below the plot that holds the key's lines."""
    return {
        "text": lines,
        "orient": "bottom",
        "anchor": "start",
        "align": "left",
        "color": theme.ink,
        "fontSize": theme.text,
        "fontWeight": "normal",
        "offset": theme.text,
        "limit": theme.room,
    }


def _marks(x: Spec, y: Spec, measure: str, methods: list[str], theme: Theme) -> Spec:
    """Return the layer of the points, by method, filled if they are on the Pareto front."""
    kind = {"field": "method", "type": "nominal", "scale": {"domain": methods}}
    legend = kind if len(methods) > 1 else {**kind, "legend": None}
    return {
        "mark": {"type": "point", "opacity": 1, "strokeWidth": 2, "size": theme.point},
        "encoding": {
            "x": x,
            "y": y,
            "color": legend,
            "shape": legend,
            "fill": legend,
            "fillOpacity": {"condition": {"test": "datum.front", "value": 1}, "value": 0},
            "tooltip": [
                {"field": "name", "title": "System"},
                {"field": "quality", "title": measure},
                {"field": "latency", "title": "p50"},
                {"field": "place", "title": "Trade-off"},
            ],
        },
    }
