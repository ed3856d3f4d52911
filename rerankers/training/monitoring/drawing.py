"""Draws line charts as SVG, for the curves of a training.

It is not done by Vega, whose engine takes seconds to start, and hangs in a process that was forked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 210, 64, 16, 44, 34  # pixels of a panel and its margins
_COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#CCBB44", "#66CCEE")
_INK, _MUTED, _RULE = "#222222", "#666666", "#DDDDDD"


@dataclass(frozen=True, slots=True)
class Panel:
    """A line chart of values over steps.

    Attributes:
        title: stands above it.
        curves: points (step, value) of each line by its name, in order of steps.
        levels: values of horizontal lines by their name.
    """

    title: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    levels: Mapping[str, float]

    def finite(self) -> Panel:
        """Return a copy without values that are not finite, and without curves left empty."""
        curves = {
            name: [(step, value) for step, value in points if math.isfinite(value)]
            for name, points in self.curves.items()
        }
        levels = {name: value for name, value in self.levels.items() if math.isfinite(value)}
        return Panel(self.title, {name: points for name, points in curves.items() if points}, levels)


def draw(panels: Sequence[Panel]) -> str:
    """Return an SVG of the charts one below the other; charts without curves are left out."""
    drawn = [panel for panel in (panel.finite() for panel in panels) if panel.curves]
    last = max((points[-1][0] for panel in drawn for points in panel.curves.values()), default=1.0)
    height = _HEIGHT * max(1, len(drawn))
    body = "".join(_panel(panel, _HEIGHT * place, max(1.0, last)) for place, panel in enumerate(drawn))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="12"><rect width="{_WIDTH}" '
        f'height="{height}" fill="white"/>{body}</svg>\n'
    )


def _panel(panel: Panel, top: int, last: float) -> str:
    """Return the SVG elements of one chart, `top` pixels down, whose step axis ends at `last`."""
    values = [value for points in panel.curves.values() for _, value in points] + list(panel.levels.values())
    ticks = nice_ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)
    right, bottom = _WIDTH - _RIGHT, top + _HEIGHT - _BOTTOM

    def x(step: float) -> float:
        return _LEFT + (right - _LEFT) * step / last

    def y(value: float) -> float:
        return bottom - (bottom - top - _TOP) * (value - low) / (high - low)

    parts = [_text(_LEFT, top + 16, panel.title, _INK, "start", "bold")]
    for tick in ticks:
        parts.append(_line(_LEFT, y(tick), right, y(tick), _RULE))
        parts.append(_text(_LEFT - 6, y(tick) + 4, f"{tick:g}", _MUTED, "end"))
    for step in nice_ticks(0.0, last):
        if step <= last:
            parts.append(_text(x(step), bottom + 16, f"{step:g}", _MUTED, "middle"))
    for value in panel.levels.values():
        parts.append(_line(_LEFT, y(value), right, y(value), _MUTED, "4 3"))
    legend = _LEFT
    for place, (name, points) in enumerate(panel.curves.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(points) <= _WIDTH // 12:  # few enough to tell from each other
            parts += [
                f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.2" fill="{colour}"/>'
                for step, value in points
            ]
        parts.append(_text(legend, top + 34, name, colour, "start"))
        legend += 8 * len(name) + 18
    names = ", ".join(f"{name} {value:.4f}" for name, value in panel.levels.items())
    if names:
        parts.append(_text(right, top + 34, f"dashed: {names}", _MUTED, "end"))
    return "".join(parts)


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about `count` evenly spaced round numbers that enclose `low` to `high`, for an axis."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-30):
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if high else (0.0, 1.0)
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    width = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    return [float(f"{place * width:.12g}") for place in range(first, last + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "") -> str:
    """Return an SVG line between two points in pixels; `dashes` is its dash pattern."""
    pattern = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{pattern}/>'


def _text(x: float, y: float, text: str, colour: str, anchor: str, weight: str = "normal") -> str:
    """Return an SVG text at a point in pixels, its characters escaped."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
