"""The chart of stages: one bar per system, divided into its stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.timing import STAGE_ORDER, UNTRACKED
from reports.charts.theme import MILLISECONDS, Spec, Theme, chart, named_rows, names_axis
from reports.formats.numbers import percent, significant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.analysis.values import Group, SystemResult

COLOURS = {  # and whether dark text reads well on it
    "retrieve": ("#BBBBBB", True),
    "fetch": ("#DDDDDD", True),
    "embed": ("#44AA99", True),
    "project": ("#117733", False),
    "prompt": ("#DDCC77", True),
    "prefill": ("#5A4FCF", False),
    "think": ("#E8A87C", True),
    "decode": ("#B8505C", False),
    "generate": ("#AA4499", False),
    "forward": ("#3A78A8", False),
    "parse": ("#999933", True),
    "order": ("#882255", False),
    UNTRACKED: ("#C4C4C4", True),
}


_BARS = 0.7  # of the room: names stand before the bars
_VISIBLE = 2.0  # pixels, of which the edge takes one


def stage_bars(group: Group, share: bool, theme: Theme) -> Spec | None:
    """Return the chart of mean time per query by stage; None without timings.

    Bars are in milliseconds, or with `share` as shares of the total.
    """
    systems = [system for system in group.systems if system.role == "reranker" and system.timing.stages]
    if not systems:
        return None
    rows = named_rows([system.label for system in systems], theme)
    parts = _parts(systems, rows, share, theme)
    totals = [] if share else [_total(system, rows) for system in systems]
    used = [name for name in STAGE_ORDER if any(part["stage"] == name for part in parts)]
    y = names_axis(rows, theme)
    title = "Share of the mean total" if share else "Mean time per query (ms)"
    x = {
        "type": "quantitative",
        "title": title,
        "scale": {"domain": [0, _end(totals, theme)], "nice": False},
        "axis": {"format": ".0%" if share else ",~r", "tickCount": min(5, theme.room // 100), "grid": False},
    }
    colour = {
        "field": "stage",
        "type": "nominal",
        "scale": {"domain": used, "range": [COLOURS[name][0] for name in used]},
    }
    hover = [
        {"field": "name", "title": "System"},
        {"field": "stage", "title": "Stage"},
        {"field": "time", "title": "Mean"},
        {"field": "share", "title": "Share"},
    ]
    layers = [
        {
            "mark": {"type": "bar", "stroke": theme.ground, "strokeWidth": 1},
            "encoding": {
                "y": y,
                "x": {"field": "start", **x},
                "x2": {"field": "end"},
                "color": colour,
                "tooltip": hover,
            },
        },
        {
            "mark": {"type": "text", "aria": False, "baseline": "middle", "fontSize": theme.text - 1},
            "encoding": {
                "y": y,
                "x": {"field": "middle", "type": "quantitative"},
                "text": {"field": "written"},
                "color": {"condition": {"test": "datum.light", "value": "#1b1d22"}, "value": "#ffffff"},
            },
        },
    ]
    if totals:
        layers.append(_totals_layer(totals, y, theme))
    return chart(f"{title} by stage on {group.title}", theme, theme.row * len(systems), parts, layers)


def _totals_layer(totals: Sequence[Spec], y: Spec, theme: Theme) -> Spec:
    """Return the layer that writes each total behind its bar."""
    return {
        "data": {"values": totals},
        "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 5, "fill": theme.muted},
        "encoding": {
            "y": y,
            "x": {"field": "end", "type": "quantitative"},
            "text": {"field": "written"},
        },
    }


def _total(system: SystemResult, rows: Mapping[str, str]) -> Spec:
    """Return the chart values of a system's total in milliseconds."""
    milliseconds = MILLISECONDS * sum(stage.seconds for stage in system.timing.stages)
    return {"row": rows[system.label], "end": milliseconds, "written": f"{significant(milliseconds)} ms"}


def _end(totals: Sequence[Spec], theme: Theme) -> float:
    """Return the end of the axis: 1 for shares, else behind the longest bar and the number beside it."""
    if not totals:
        return 1.0
    longest = max(totals, key=lambda total: total["end"])
    beside = 0.6 * theme.text * (len(longest["written"]) + 1)
    return float(longest["end"] * (1 + beside / (_BARS * theme.room)))


def _parts(systems: Sequence[SystemResult], rows: Mapping[str, str], share: bool, theme: Theme) -> list[Spec]:
    """Return the chart values of all stages that are long enough to be seen, by system."""
    longest = max(stage.seconds / stage.share for s in systems for stage in s.timing.stages if stage.share)
    parts: list[Spec] = []
    for system in systems:
        end = 0.0
        for stage in system.timing.stages:
            start, end = end, end + (stage.share if share else stage.seconds * MILLISECONDS)
            pixels = _BARS * theme.room * (stage.share if share else stage.seconds / longest)
            if pixels < _VISIBLE:
                continue
            parts.append(
                {
                    "name": system.label,
                    "row": rows[system.label],
                    "stage": stage.name,
                    "start": start,
                    "end": end,
                    "middle": (start + end) / 2,
                    "time": f"{significant(stage.seconds * MILLISECONDS)} ms",
                    "share": percent(stage.share),
                    "written": stage.name if pixels > 0.62 * theme.text * (len(stage.name) + 1) else "",
                    "light": COLOURS[stage.name][1],
                }
            )
    return parts
