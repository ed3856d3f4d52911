"""The chart of latency distributions: one row per system, so that thirty systems stay readable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.timing import QUANTILES
from reports.charts.theme import METHODS, MILLISECONDS, Spec, Theme, chart, log_axis, named_rows, names_axis
from reports.formats.numbers import significant

if TYPE_CHECKING:
    from reports.analysis.values import Group


def distribution(group: Group, theme: Theme) -> Spec | None:
    """Return the chart of latency quantiles of a group's rerankers; None without latencies.

    A line goes from 5 to 95 %, a box from 25 to 75 %, with a tick at the median and a ring at 99 %.
    """
    systems = [
        system
        for system in group.systems
        if system.role == "reranker" and system.timing.latency and not system.timing.is_amortised
    ]
    named = named_rows([system.label for system in systems], theme)
    rows: list[Spec] = []
    for system in systems:
        if system.timing.latency:
            levels = {
                name: MILLISECONDS * seconds for name, seconds in system.timing.latency.quantiles.items()
            }
            written = {f"{name}_text": f"{significant(value)} ms" for name, value in levels.items()}
            rows.append({"name": system.label, "row": named[system.label], **levels, **written})
    if not rows:
        return None
    ends = [row[end] for row in rows for end in ("p5", "p99")]
    x = log_axis("p5", "Latency per query (ms, log scale)", ends)
    y = names_axis(named, theme)
    hover = [{"field": "name", "title": "System"}, *({"field": f"{n}_text", "title": n} for n in QUANTILES)]
    thick = theme.row // 2
    marks: list[tuple[Spec, Spec]] = [
        ({"type": "rule", "stroke": theme.muted}, {"x": x, "x2": {"field": "p95"}}),
        (
            {"type": "bar", "fill": METHODS[0], "fillOpacity": 0.55, "height": thick},
            {"x": {**x, "field": "p25"}, "x2": {"field": "p75"}},
        ),
        (
            {"type": "tick", "color": theme.ink, "thickness": 2, "size": thick + 4},
            {"x": {**x, "field": "p50"}},
        ),
        (
            {"type": "point", "stroke": theme.muted, "opacity": 1, "size": theme.point / 3},
            {"x": {**x, "field": "p99"}},
        ),
    ]
    layers = [{"mark": mark, "encoding": {"y": y, **where, "tooltip": hover}} for mark, where in marks]
    return chart(f"Latency per query on {group.title}", theme, theme.row * len(rows), rows, layers)
