"""Comparison of two saved benchmark runs: the values of both, and their ratio.

    python -m benchmarks.micro.ratios.compare OLD.json NEW.json

Reads what `--benchmark-save` writes (every benchmark, stages included) and what `--figures` writes (the
promised figures, beside their targets). A ratio says something only of runs on the same machine, which the
files tell.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Values = dict[tuple[str, str], float]


def values(run: Mapping[str, Any]) -> Values:
    """Return a run's numbers by (benchmark, name of the number).

    They are the median in milliseconds and the numbers of `extra_info`. A file of figures gives each figure's
    value by (its name, its target).
    """
    numbers_by_name: Values = {
        (figure["name"], f"({figure['direction']} {figure['target']:g})"): figure["value"]
        for figure in run.get("figures", [])
    }
    for benchmark in run.get("benchmarks", []):
        numbers_by_name[benchmark["name"], "median_ms"] = 1e3 * benchmark["stats"]["median"]
        numbers = {
            name: value for name, value in benchmark["extra_info"].items() if isinstance(value, int | float)
        }
        numbers_by_name |= {(benchmark["name"], name): value for name, value in numbers.items()}
    return numbers_by_name


def lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the comparison: the two commits, and each value that both runs have with its ratio.

    A warning follows the commits if the machines differ.
    """
    commits = [str(run.get("commit_info", {}).get("id"))[:8] for run in (old, new)]
    machines = [
        (run["machine_info"]["node"], run["machine_info"].get("cpu", {}).get("brand_raw"))
        for run in (old, new)
    ]
    yield f"{'':52}{commits[0]:>14}{commits[1]:>14}{'ratio':>8}"
    if machines[0] != machines[1]:
        yield "measured on different machines: the ratios say nothing about the code"
    before, now = values(old), values(new)
    for name, what in (key for key in before if key in now):
        then, value = before[name, what], now[name, what]
        ratio = f"{value / then:8.2f}" if then else f"{'':8}"
        yield f"{f'{name} {what}':52}{then:14.4g}{value:14.4g}{ratio}"


def main(arguments: Sequence[str]) -> None:
    """Print the comparison of two files, whose paths are the arguments."""
    old, new = (json.loads(Path(path).read_text(encoding="utf-8")) for path in arguments)
    print("\n".join(lines(old, new)))


if __name__ == "__main__":
    main(sys.argv[1:])
