"""Where the time goes: one bar per system, one part per stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.charts.look import MILLISECONDS, Look, Spec, chart, names_axis
from reports.numbers import percent, significant
from reports.timing import STAGE_ORDER, UNTRACKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.values import Group, SystemResult

COLOURS = {  # and whether dark text reads well on it
    "retrieve": ("#BBBBBB", True),
    "fetch": ("#DDDDDD", True),
    "embed": ("#44AA99", True),
    "project": ("#117733", False),
    "prompt": ("#DDCC77", True),
    "prefill": ("#5A4FCF", False),
    "decode": ("#B8505C", False),
    "generate": ("#AA4499", False),
    "forward": ("#3A78A8", False),
    "parse": ("#999933", True),
    "order": ("#882255", False),
    UNTRACKED: ("#C4C4C4", True),
}


def stage_bars(group: Group, share: bool, look: Look) -> Spec | None:
    """Mean time per query by stage: in milliseconds, or as a share of the total. None without timings."""
    shown = [system for system in group.systems if system.role == "reranker" and system.stages]
    if not shown:
        return None
    parts = _parts(shown, share, look)
    used = [name for name in STAGE_ORDER if any(part["stage"] == name for part in parts)]
    y = names_axis([system.label for system in shown])
    title = "Share of the mean total" if share else "Mean time per query (ms)"
    x = {
        "type": "quantitative",
        "title": title,
        "scale": {"domain": [0, 1 if share else 1.09 * max(part["end"] for part in parts)], "nice": False},
        "axis": {"format": ".0%" if share else ",~r", "tickCount": 5, "grid": False},
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
    totals = [
        {"name": system.label, "end": part["end"], "written": part["total"]}
        for system in ([] if share else shown)
        for part in [next(part for part in reversed(parts) if part["name"] == system.label)]
    ]
    layers = [
        {
            "mark": {"type": "bar", "stroke": look.ground, "strokeWidth": 1},
            "encoding": {
                "y": y,
                "x": {"field": "start", **x},
                "x2": {"field": "end"},
                "color": colour,
                "tooltip": hover,
            },
        },
        {
            "mark": {"type": "text", "aria": False, "baseline": "middle", "fontSize": look.text - 1},
            "encoding": {
                "y": y,
                "x": {"field": "middle", "type": "quantitative"},
                "text": {"field": "written"},
                "color": {"condition": {"test": "datum.light", "value": "#1b1d22"}, "value": "#ffffff"},
            },
        },
    ]
    if totals:
        layers.append(
            {
                "data": {"values": totals},
                "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 5, "fill": look.muted},
                "encoding": {
                    "y": y,
                    "x": {"field": "end", "type": "quantitative"},
                    "text": {"field": "written"},
                },
            }
        )
    return chart(f"{title} by stage on {group.title}", look, look.row * len(shown), parts, layers)


def _parts(systems: Sequence[SystemResult], share: bool, look: Look) -> list[Spec]:
    longest = max(stage.seconds / stage.share for s in systems for stage in s.stages if stage.share)
    parts: list[Spec] = []
    for system in systems:
        end, total = 0.0, sum(stage.seconds for stage in system.stages)
        for stage in system.stages:
            start, end = end, end + (stage.share if share else stage.seconds * MILLISECONDS)
            pixels = look.room * 0.7 * (stage.share if share else stage.seconds / longest)
            parts.append(
                {
                    "name": system.label,
                    "stage": stage.name,
                    "start": start,
                    "end": end,
                    "middle": (start + end) / 2,
                    "time": f"{significant(stage.seconds * MILLISECONDS)} ms",
                    "share": percent(stage.share),
                    "total": f"{significant(total * MILLISECONDS)} ms",
                    "written": stage.name if pixels > 0.62 * look.text * (len(stage.name) + 1) else "",
                    "light": COLOURS[stage.name][1],
                }
            )
    return parts
