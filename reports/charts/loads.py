"""The chart of latency against load: p50, p95 and p99 of each served system, and the bound of its SLO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.comparisons.loads import loaded
from reports.charts.theme import MILLISECONDS, Spec, Theme, chart, level_axis, log_axis
from reports.formats.numbers import significant

if TYPE_CHECKING:
    from reports.analysis.values import Group

PERCENTILES = ("p50", "p95", "p99")
DASHES = ([1, 0], [6, 3], [2, 2])


def load_curve(group: Group, theme: Theme) -> Spec | None:
    """Return the chart of latency percentiles by arrival rate.

    None unless a system was served at two rates.
    """
    values: list[Spec] = []
    bounds: dict[float, str] = {}
    for system, load in loaded(group.systems):
        if load.rate is None or system.timing.latency is None:
            continue
        for name in PERCENTILES:
            milliseconds = MILLISECONDS * getattr(system.timing.latency, name).value
            point = {"line": load.system, "percentile": name, "x": load.rate, "y": milliseconds}
            slo_words = {None: "no SLO", True: f"keeps {load.slo}", False: f"misses {load.slo}"}[load.is_kept]
            values.append({**point, "written": f"{significant(milliseconds)} ms", "kept": slo_words})
        if load.slo_seconds is not None:
            bounds[MILLISECONDS * load.slo_seconds] = load.slo
    names = list(dict.fromkeys(value["line"] for value in values))
    if not any(len({value["x"] for value in values if value["line"] == name}) > 1 for name in names):
        return None
    x = level_axis("Requests per second", [value["x"] for value in values])
    y = log_axis("y", "Latency per query (ms, log scale)", [*(value["y"] for value in values), *bounds])
    legend = {"columns": max(1, theme.legend_columns // 3), "labelLimit": theme.room}
    color = {"field": "line", "type": "nominal", "scale": {"domain": names}, "legend": legend}
    dash = {
        "field": "percentile",
        "type": "nominal",
        "scale": {"domain": [*PERCENTILES], "range": [*DASHES]},
        "legend": {"columns": 3, "symbolSize": 900},
    }
    hover = [
        {"field": "line", "title": "System"},
        {"field": "percentile", "title": "Percentile"},
        {"field": "x", "title": "Requests per second"},
        {"field": "written", "title": "Latency"},
        {"field": "kept", "title": "SLO"},
    ]
    layers: list[Spec] = [
        {
            "data": {"values": [{"bound": bound, "slo": slo} for bound, slo in bounds.items()]},
            "mark": {"type": "rule", "stroke": theme.muted, "strokeDash": [2, 4]},
            "encoding": {"y": {**y, "field": "bound"}, "tooltip": [{"field": "slo", "title": "SLO"}]},
        },
        {
            "mark": {"type": "line", "strokeWidth": 1.5},
            "encoding": {"x": x, "y": y, "color": color, "strokeDash": dash},
        },
        {
            "mark": {"type": "point", "opacity": 1, "filled": True, "size": theme.point / 2},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": hover},
        },
    ]
    return chart(f"Latency against load on {group.title}", theme, theme.height, values, layers)
