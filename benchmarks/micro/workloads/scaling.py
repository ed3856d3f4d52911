"""Measures `report` and `table` on growing result folders, and draws the figure of `docs/scaling.md`.

    python -m benchmarks.micro.workloads.scaling measure docs/scaling.csv
    python -m benchmarks.micro.workloads.scaling draw docs/scaling.csv docs/scaling.svg

One number grows at a time: queries, candidates or systems. The rankings are random (`large_report`). Each
command runs in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import vl_convert

from benchmarks.micro.workloads.large_report import make_folder
from benchmarks.micro.workloads.process_cost import ProcessCost, report_cost, table_cost
from rerankers.files.writing import replace_file

SIZES = {
    "queries": [(4, queries, 100) for queries in (1000, 3000, 6980)],
    "candidates": [(4, 1000, candidates) for candidates in (20, 100, 200)],
    "systems": [(systems, 1000, 100) for systems in (4, 12, 30)],
}
"""(systems, queries, candidates) of each folder, by the number that grows."""
COLUMNS = ("grows", "systems", "queries", "candidates", "command", "cpu_seconds", "peak_mb")
PANELS = {"cpu_seconds": "CPU seconds", "peak_mb": "peak memory, MB"}


def measure(path: Path) -> None:
    """Measure both commands at every size, and write one line each to a CSV file."""
    costs = {size: _costs(*size) for size in {size for sizes in SIZES.values() for size in sizes}}
    lines = [",".join(COLUMNS)]
    for grows, sizes in SIZES.items():
        for size in sizes:
            for command, cost in costs[size].items():
                start = ",".join(map(str, (grows, *size, command)))
                lines.append(f"{start},{cost.cpu_seconds:.2f},{cost.peak_mb:.0f}")
    replace_file(path, "".join(f"{line}\n" for line in lines))


def _costs(systems: int, queries: int, candidates: int) -> dict[str, ProcessCost]:
    """Return the cost of each command on a folder of this size, and print it."""
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), systems, 1, queries, candidates)
        costs = {"report": report_cost(folder), "table": table_cost(folder)}
    print(systems, queries, candidates, costs, flush=True)
    return costs


def draw(path: Path, target: Path) -> None:
    """Draw the figures of a CSV file as an SVG file: one column for each number that grows."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{**row, "size": int(row[row["grows"]])} for row in csv.DictReader(file)]
    for row in rows:
        row |= {name: float(row[name]) for name in PANELS}
    columns = [
        {"vconcat": [_panel([row for row in rows if row["grows"] == grows], grows, name) for name in PANELS]}
        for grows in SIZES
    ]
    specification = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "config": {"view": {"stroke": None}, "font": "sans-serif"},
        "hconcat": columns,
    }
    replace_file(target, vl_convert.vegalite_to_svg(specification))


def _panel(rows: list[dict[str, Any]], grows: str, name: str) -> dict[str, Any]:
    """Return the chart of one quantity against one number: a line for each command."""
    color = {"field": "command", "type": "nominal", "legend": {"title": None}}
    return {
        "width": 190,
        "height": 130,
        "data": {"values": rows},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "size", "type": "quantitative", "title": grows, "axis": {"tickCount": 4}},
            "y": {"field": name, "type": "quantitative", "title": PANELS[name]},
            "color": {**color, "scale": {"range": ["#4477AA", "#EE6677"]}},
        },
    }


def main() -> None:
    """Read the command line, then measure or draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("work", choices=["measure", "draw"])
    parser.add_argument("csv", type=Path)
    parser.add_argument("svg", type=Path, nargs="?", default=Path("docs/scaling.svg"))
    arguments = parser.parse_args()
    if arguments.work == "measure":
        measure(arguments.csv)
    else:
        draw(arguments.csv, arguments.svg)


if __name__ == "__main__":
    main()
