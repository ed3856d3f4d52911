"""Places names beside points, so that they neither overlap nor leave the plot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.charts.theme import Theme

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

SIDES: dict[str, dict[str, Any]] = {  # mark options of Vega-Lite, in order of preference
    "above": {"align": "center", "baseline": "bottom", "dy": -9},
    "right": {"align": "left", "baseline": "middle", "dx": 10},
    "left": {"align": "right", "baseline": "middle", "dx": -10},
    "below": {"align": "center", "baseline": "top", "dy": 9},
    "above right": {"align": "left", "baseline": "bottom", "dx": 6, "dy": -6},
    "above left": {"align": "right", "baseline": "bottom", "dx": -6, "dy": -6},
    "below right": {"align": "left", "baseline": "top", "dx": 6, "dy": 6},
    "below left": {"align": "right", "baseline": "top", "dx": -6, "dy": 6},
}
_POINT = 5.0  # pixels, radius


def shortened(label: str, limit: int = 32) -> str:
    """Return a label cut to `limit` characters, to fit beside a point."""
    return label if len(label) <= limit else label[: limit - 1] + "…"


def place_labels(
    points: Sequence[dict[str, Any]], x_domain: Sequence[float], y_domain: Sequence[float], theme: Theme
) -> None:
    """Set `side` of each point to a free place for its label, points on the front first; "" if none is free.

    Args:
        points: chart values with `x`, `y`, `short` and `front`; changed in place.
        x_domain: ends of the log x axis.
        y_domain: ends of the y axis.
        theme: sizes of plot and text.
    """
    low, high = math.log(x_domain[0]), math.log(x_domain[1])
    centres = [
        (
            theme.room * (math.log(point["x"]) - low) / (high - low),
            theme.height * (y_domain[1] - point["y"]) / (y_domain[1] - y_domain[0]),
        )
        for point in points
    ]
    occupied: list[Box] = [(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in centres]
    for point, centre in sorted(zip(points, centres, strict=True), key=lambda pair: not pair[0]["front"]):
        point["side"] = ""
        for side, options in SIDES.items():
            box = _box(*centre, options, 0.56 * theme.text * len(point["short"]), 1.2 * theme.text)
            inside = box[0] >= 0 and box[2] <= theme.room and box[1] >= 0 and box[3] <= theme.height
            if inside and not any(_overlap(box, other) for other in occupied):
                point["side"] = side
                occupied.append(box)
                break


def number_the_others(points: Sequence[dict[str, Any]]) -> list[str]:
    """Set `number` of each point whose whole name is not beside it; return one key line per such point."""
    others = [point for point in points if not point["side"] or point["short"] != point["name"]]
    for number, point in enumerate(others, 1):
        point["side"], point["number"] = "", str(number)
    return [f"{point['number']}  {point['name']}" for point in others]


def _box(x: float, y: float, options: dict[str, Any], width: float, height: float) -> Box:
    """Return the rectangle of a label beside a point, in pixels."""
    left = x + options.get("dx", 0) - {"left": 0.0, "center": 0.5, "right": 1.0}[options["align"]] * width
    top = y + options.get("dy", 0) - {"top": 0.0, "middle": 0.5, "bottom": 1.0}[options["baseline"]] * height
    return left, top, left + width, top + height


def _overlap(a: Box, b: Box) -> bool:
    """Return whether two rectangles overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
