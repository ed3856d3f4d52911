"""Themes of charts for page, phone and paper (sizes, colours), and the axes that all charts share."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
METHODS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#CCBB44", "#66CCEE", "#888888")  # the lightest late
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "stroke")
MILLISECONDS = 1e3


@dataclass(frozen=True, slots=True)
class Theme:
    """A theme of charts. Sizes are pixels; colours are CSS values, on the page its own variables.

    Attributes:
        width: width of the plot; `container` fills the page's column.
        room: expected width of the plot in pixels, for placing names.
        height: height of the plot.
        row: height of one system's row in charts with a row per system.
        names: width for system names beside an axis.
        text: font size.
        point: area of a point.
    """

    width: int | str
    room: int
    height: int
    row: int
    names: int
    text: int
    point: int
    legend_columns: int
    ink: str
    muted: str
    rule: str
    ground: str
    font: str

    def config(self) -> Spec:
        """Return Vega-Lite's `config` for this theme: fonts, axes, legends, palettes."""
        return {
            "background": "white" if self.ground == "white" else "transparent",
            "font": self.font,
            "view": {"stroke": None},
            "axis": {
                "labelColor": self.muted,
                "titleColor": self.ink,
                "gridColor": self.rule,
                "domainColor": self.muted,
                "tickColor": self.muted,
                "labelFontSize": self.text,
                "titleFontSize": self.text,
                "titleFontWeight": "normal",
                "titlePadding": self.text,
                "labelLimit": self.names,
            },
            "legend": {
                "labelColor": self.ink,
                "labelFontSize": self.text,
                "title": None,
                "orient": "top",
                "columns": self.legend_columns,
                "symbolSize": self.point,
                "columnPadding": self.text,
                "offset": self.text,
            },
            "text": {"font": self.font, "fontSize": self.text},
            "range": {"category": list(METHODS), "symbol": list(SHAPES)},
        }


_PAGE_COLOURS = {
    "ink": "var(--ink)",
    "muted": "var(--muted)",
    "rule": "var(--rule)",
    "ground": "var(--ground)",
    "font": "system-ui, sans-serif",
}
PAGE = Theme("container", 900, 400, 30, 240, 12, 100, 7, **_PAGE_COLOURS)
PHONE = Theme("container", 290, 300, 30, 104, 11, 70, 3, **_PAGE_COLOURS)
PAPER = Theme(
    width=250,  # with axis and names about 3.3 inches, one column of a two-column paper
    room=250,
    height=190,
    row=19,
    names=96,
    text=8,
    point=36,
    legend_columns=4,
    ink="#1b1d22",
    muted="#5c626b",
    rule="#e4e4e0",
    ground="white",
    font="Helvetica, Arial, Liberation Sans, sans-serif",
)


_LETTER = 0.6  # width of a letter on average, as a part of the font's size
_EXACT = ",.6~r"  # six digits: without a precision, d3 rounds to that of the ticks it would have chosen


def chart(
    description: str, theme: Theme, height: int, values: Sequence[Spec], layers: Sequence[Spec]
) -> Spec:
    """Return a whole Vega-Lite specification: layers over the same values.

    Numbers are rounded to six digits, which draws the same picture.
    """
    return {
        "$schema": SCHEMA,
        "description": description,
        "width": theme.width,
        "height": height,
        "autosize": {"type": "fit-x" if theme.width == "container" else "pad", "contains": "padding"},
        "data": {"values": [{name: _drawn(value) for name, value in row.items()} for row in values]},
        "layer": list(layers),
        "config": theme.config(),
    }


def _drawn(value: Any) -> Any:
    """Return a number rounded to six digits, other values unchanged."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def named_rows(labels: Sequence[str], theme: Theme) -> dict[str, str]:
    """Return the `row` value of each label for `names_axis`: position, and name on one or two lines."""
    room = int(theme.names / (_LETTER * theme.text))
    return {label: "\n".join([str(place), *_broken(label, room)]) for place, label in enumerate(labels)}


def _broken(label: str, room: int) -> tuple[str, ...]:
    """Return a label as one line, or broken into two of similar length if longer than `room` letters."""
    places = [match.end() for match in re.finditer(r"\s|-", label.strip())] if len(label) > room else []
    halves = [(label[:place].rstrip(), label[place:]) for place in places]
    return min(halves, key=lambda pair: max(map(len, pair)), default=(label,))


def names_axis(rows: Mapping[str, str], theme: Theme) -> Spec:
    """Return a vertical axis with one row per system, in the order of `rows`, the result of `named_rows`."""
    axis = {
        "domain": False,
        "ticks": False,
        "labelPadding": 8,
        "labelLineHeight": theme.text + 2,
        "labelExpr": "slice(split(datum.label, '\\n'), 1)",
        "labelOffset": {
            "condition": {"test": "length(split(datum.value, '\\n')) > 2", "value": -(theme.text + 2) / 2},
            "value": 0,
        },
    }
    return {"field": "row", "type": "nominal", "title": None, "sort": [*rows.values()], "axis": axis}


def level_axis(title: str, levels: Sequence[float]) -> Spec:
    """Return a horizontal axis for numeric levels, with a tick at each of them."""
    return {
        "field": "x",
        "type": "quantitative",
        "title": title,
        "scale": {"zero": False, "nice": False, "padding": 12},
        "axis": {"values": sorted(set(levels)), "grid": False, "format": _EXACT},
    }


def quality_axis(measure: str, domain: Sequence[float] | None = None) -> Spec:
    """Return a vertical axis for a measure, limited to `domain` or to the values."""
    scale: Spec = {"zero": False} if domain is None else {"zero": False, "nice": False, "domain": [*domain]}
    return {
        "field": "y",
        "type": "quantitative",
        "title": measure,
        "scale": scale,
        # Without a format, labels have as many decimals as ticks need to differ.
        "axis": {"tickCount": 6, "domain": False, "ticks": False},
    }


def log_axis(field: str, title: str, values: Sequence[float]) -> Spec:
    """Return a log axis around positive values, with ticks at 1, 2 and 5 or, over many decades, at 1."""
    low, high = min(values) / 1.8, max(values) * 1.8
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 2.2 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log", "nice": False, "domain": [low, high]},
        "axis": {
            "values": [tick for tick in ticks if low <= tick <= high],
            "format": _EXACT,
            "gridOpacity": 0.6,
        },
    }
