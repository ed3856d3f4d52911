"""The chart of quality against depth, for groups without latencies, such as imported runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.charts.theme import Spec, Theme, chart, level_axis, quality_axis
from reports.charts.trade_off import level_line, pareto_points
from reports.formats.numbers import fixed

if TYPE_CHECKING:
    from reports.analysis.values import Group


def depth_trade_off(group: Group, theme: Theme) -> Spec | None:
    """Return the chart of the headline measure by number of candidates reranked, with the Pareto front.

    None if no system has values by depth.
    """
    systems = [system for system in group.systems if system.quality.by_depth]
    if not systems:
        return None
    measure = group.headline
    points: list[Spec] = [
        {"name": system.label, "x": depth, "y": value, "written": fixed(value, 4)}
        for system in systems
        for depth, value in system.quality.by_depth.items()
    ]
    front = pareto_points([(point["x"], point["y"]) for point in points])
    for point in points:
        point["front"] = (point["x"], point["y"]) in front
        point["place"] = "on the Pareto front" if point["front"] else "another is as cheap and better"
    level = [
        {"y": system.quality.estimates[measure].value, "written": system.label}
        for system in group.systems
        if system.role == "first_stage" and measure in system.quality.estimates
    ]
    x = level_axis("Candidates reranked", [point["x"] for point in points])
    y = quality_axis(measure)
    kind = {
        "field": "name",
        "type": "nominal",
        "scale": {"domain": [system.label for system in systems]},
        "legend": {"columns": max(1, theme.legend_columns // 3), "labelLimit": theme.room},
    }
    layers = [
        *level_line(level, theme),
        {
            "transform": [{"filter": "datum.front"}],
            "mark": {"type": "line", "stroke": theme.rule, "strokeWidth": 9, "strokeCap": "round"},
            "encoding": {"x": x, "y": y, "order": {"field": "x", "type": "quantitative"}},
        },
        {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": {"x": x, "y": y, "color": kind}},
        {
            "mark": {"type": "point", "opacity": 1, "strokeWidth": 2, "size": theme.point},
            "encoding": {
                "x": x,
                "y": y,
                "color": kind,
                "shape": kind,
                "fill": kind,
                "fillOpacity": {"condition": {"test": "datum.front", "value": 1}, "value": 0},
                "tooltip": [
                    {"field": "name", "title": "System"},
                    {"field": "x", "title": "Candidates reranked"},
                    {"field": "written", "title": measure},
                    {"field": "place", "title": "Trade-off"},
                ],
            },
        },
    ]
    return chart(
        f"{measure} against candidates reranked on {group.title}", theme, theme.height, points, layers
    )
