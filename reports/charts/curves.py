"""Line charts over a numeric factor: depth, window, stride, or any option that takes several numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.charts.theme import (
    MILLISECONDS,
    Spec,
    Theme,
    chart,
    level_axis,
    log_axis,
    quality_axis,
)
from reports.formats.numbers import fixed, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.comparisons.ablation import Factor, Point


def quality_curve(factor: Factor, theme: Theme) -> Spec | None:
    """Return the chart of the headline measure by levels of a factor, one line per system and candidate set.

    None if the factor is not numeric or has no values.
    """
    measure = factor.series[0].points[0].group.headline
    values = [
        {**_named(factor, point, name), "y": estimate.value, "low": estimate.low, "high": estimate.high}
        for name, point in _points(factor)
        if (estimate := point.system.quality.estimates.get(measure))
    ]
    written = [{**value, "written": fixed(value["y"], 4)} for value in values]
    return _lines(factor, f"{measure} by {factor.name}", measure, written, theme, is_log=False)


def latency_curve(factor: Factor, theme: Theme) -> Spec | None:
    """Return the chart of median latency by levels of a factor.

    None if it is not numeric or has no latencies.
    """
    values = [
        {**_named(factor, point, name), "y": milliseconds, "written": f"{significant(milliseconds)} ms"}
        for name, point in _points(factor)
        if point.system.timing.latency and not point.system.timing.is_amortised
        for milliseconds in [MILLISECONDS * point.system.timing.latency.p50.value]
    ]
    title = "Median latency per query (ms, log scale)"
    return _lines(factor, f"Median latency by {factor.name}", title, values, theme, is_log=True)


def _points(factor: Factor) -> list[tuple[str, Point]]:
    """Return (name of the line, point) for each point of a factor, names as short as they can be distinct."""
    lines = [", ".join(filter(None, [series.label, series.column])) for series in factor.series]
    if len(set(lines)) < len(lines):  # other settings tell them apart, which the full names say
        lines = [
            ", ".join(filter(None, [series.points[0].system.label, series.column]))
            for series in factor.series
        ]
    return [
        (line, point) for line, series in zip(lines, factor.series, strict=True) for point in series.points
    ]


def _named(factor: Factor, point: Point, line: str) -> Spec:
    """Return the chart values that identify a point: line, system and level."""
    return {"line": line, "name": point.system.label, "x": point.level}


def _lines(
    factor: Factor, title: str, y_title: str, values: Sequence[Spec], theme: Theme, *, is_log: bool
) -> Spec | None:
    """Return a line chart of the values; None without values, or if the factor is not numeric.

    `is_log` selects a log axis for latency, otherwise the axis is that of a measure.
    """
    if not factor.is_numeric or not values:
        return None
    names = list(dict.fromkeys(value["line"] for value in values))
    x = level_axis(factor.name.replace("_", " "), [value["x"] for value in values])
    y = log_axis("y", y_title, [value["y"] for value in values]) if is_log else quality_axis(y_title)
    kind = {
        "field": "line",
        "type": "nominal",
        "scale": {"domain": names},
        "legend": {"columns": 1, "labelLimit": theme.room},
    }
    hover = [
        {"field": "name", "title": "System"},
        {"field": "x", "title": factor.name.replace("_", " ")},
        {"field": "written", "title": y_title},
    ]
    layers = [
        {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": {"x": x, "y": y, "color": kind}},
        {
            "mark": {"type": "point", "opacity": 1, "filled": True, "size": theme.point},
            "encoding": {"x": x, "y": y, "color": kind, "shape": kind, "tooltip": hover},
        },
    ]
    return chart(title, theme, round(0.7 * theme.height), values, layers)
