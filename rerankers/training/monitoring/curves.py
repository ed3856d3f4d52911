"""Draws the curves of a training's log as pictures and as a page, in the training's folder.

`curves.svg`, `curves.png` and `training.html` are made of `log.jsonl` and `plan.json` alone. The page is one
file that fetches nothing and runs no script.
"""

from __future__ import annotations

import base64
import json
from html import escape
from typing import TYPE_CHECKING, Any

from rerankers.files.writing import replace_file
from rerankers.text.printable import printable
from rerankers.training.measures import JUDGED, TEACHER
from rerankers.training.monitoring.drawing import Panel, draw
from rerankers.training.result_folder import LOG, PLAN, read_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_NOT_LOSSES = {"step", "epoch", "grad_norm", "learning_rate", "lists_per_second", "peak_memory_bytes"}
_STYLE = (
    "body{font:15px/1.5 sans-serif;color:#222;max-width:760px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border-bottom:1px solid #ddd;padding:.2em .8em .2em 0;"
    "text-align:left;font-weight:normal}td+td,th+th{text-align:right}img{max-width:100%}"
)
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def draw_curves(folder: Path) -> None:
    """Write `curves.svg`, `curves.png` and `training.html` from a result folder's log.

    Do nothing without a log.

    Raises:
        StoreError: the disk is full or refuses to write.
    """
    lines = read_log(folder / LOG)
    if not lines:
        return
    import vl_convert

    plan = _plan(folder)
    svg = draw(_panels(lines, plan))
    replace_file(folder / "curves.svg", svg)
    replace_file(folder / "curves.png", vl_convert.svg_to_png(svg, scale=2.0))
    replace_file(folder / "training.html", _page(folder.name, lines, plan, svg))


def _plan(folder: Path) -> dict[str, Any]:
    """Return the content of the folder's `plan.json`; empty if it is missing or broken."""
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def _panels(lines: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> list[Panel]:
    """Return the charts of a log: losses, nDCG@10 with reference lines, learning rate and gradient norm."""
    trained = [line for line in lines if "loss" in line]
    names = dict.fromkeys(name for line in trained for name in line if name not in _NOT_LOSSES)
    references: dict[str, dict[str, float]] = plan.get("references", {})
    panels = [Panel("loss", {name: _points(trained, name) for name in names}, {})]
    for title, measure in (("against the teacher's order", TEACHER), ("against judgements", JUDGED)):
        levels = {name: means[measure] for name, means in references.items() if measure in means}
        points = _points(lines, f"eval_{measure}")
        panels.append(Panel(f"nDCG@10 of held-out lists, {title}", {"model": points}, levels))
    for title, name in (("learning rate", "learning_rate"), ("gradient norm before clipping", "grad_norm")):
        panels.append(Panel(title, {name: _points(trained, name)}, {}))
    return panels


def _points(lines: Iterable[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """Return (step, value) of each line of the log that has a number of this name."""
    return [
        (float(line["step"]), float(line[name])) for line in lines if isinstance(line.get(name), int | float)
    ]


def _page(name: str, lines: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], svg: str) -> str:
    """Return the HTML page with the curves, the plan and a table of evaluations."""
    picture = base64.b64encode(svg.encode()).decode()
    evaluations = [
        [
            str(line["step"]),
            *(f"{line[f'eval_{measure}']:.4f}" for measure in (TEACHER, JUDGED) if f"eval_{measure}" in line),
        ]
        for line in lines
        if f"eval_{TEACHER}" in line
    ]
    title = f"Training {printable(name)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        '<img alt="loss, nDCG@10, learning rate and gradient norm by step" '
        f'src="data:image/svg+xml;base64,{picture}">'
        f"<h2>Plan</h2>{_table([], plan.get('lines', []))}"
        f"<h2>Evaluations</h2>{_table(['step', 'nDCG@10', 'against judgements'], evaluations)}"
        "</body></html>\n"
    )


def _table(heads: Sequence[str], rows: Sequence[Any]) -> str:
    """Return an HTML table of heads and rows; a row that is not a list is one cell."""
    cells = [row if isinstance(row, list) else [row] for row in rows]
    width = max(map(len, cells), default=0)
    head = "".join(f"<th>{escape(text)}</th>" for text in heads[:width])
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(printable(str(cell)))}</td>' for cell in row)}</tr>" for row in cells
    )
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"
