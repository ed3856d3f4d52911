"""A pytest plugin that records a benchmark run's figures, prints them beside their targets, and saves them.

`benchmarks/micro/conftest.py` loads it:

    pytest benchmarks/micro --benchmark-only --figures=before.json

The file defaults to `.benchmarks/figures-<commit>.json`, where `-dirty` marks changes that are not committed.
`python -m benchmarks.micro.ratios.compare OLD.json NEW.json` compares two of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.micro.ratios.targets import BY_NAME, TARGETS
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FORMAT = "rerankbench-figures-1"
_VALUES = pytest.StashKey[dict[str, float]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add pytest's option `--figures FILE.json`, the file to write the figures to."""
    parser.addoption(
        "--figures", metavar="FILE.json", help="where to write the measured figures and their targets"
    )


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> Callable[[str, float], None]:
    """Return a function that records a figure, given its name in `targets.TARGETS` and the measured value.

    A name that is recorded again replaces the value before. An unknown name is a `KeyError`.
    """
    values = pytestconfig.stash.setdefault(_VALUES, {})

    def record(name: str, value: float) -> None:
        values[BY_NAME[name].name] = float(value)

    return record


def lines(values: Mapping[str, float]) -> Iterator[str]:
    """Yield a heading, one line for each measured figure beside its target, and the names of the others.

    Args:
        values: measured values by name.
    """
    yield f"{'figure':40}{'measured':>10}  {'target':<16}"
    for target in TARGETS:
        if target.name in values:
            value = values[target.name]
            verdict = "met" if target.is_met(value) else "MISSED"
            limit = f"{target.direction} {target.limit:g}"
            yield f"{target.name:40}{value:10.4g}  {limit:<16}{verdict:<8}{target.meaning}"
    missing = [target.name for target in TARGETS if target.name not in values]
    if missing:
        yield "not measured: " + ", ".join(missing)


def document(values: Mapping[str, float], commit: Any, machine: Any) -> dict[str, Any]:
    """Return the content of the JSON file: commit, machine, and each measured figure with its target.

    Args:
        values: measured values by name.
        commit: pytest-benchmark's `commit_info`.
        machine: pytest-benchmark's `machine_info`.
    """
    return {
        "format": FORMAT,
        "commit_info": commit,
        "machine_info": machine,
        "figures": [
            {
                "name": target.name,
                "value": values[target.name],
                "direction": target.direction,
                "target": target.limit,
                "is_met": target.is_met(values[target.name]),
                "meaning": target.meaning,
            }
            for target in TARGETS
            if target.name in values
        ],
    }


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the recorded figures beside their targets, and write them as JSON; do nothing without any."""
    values = config.stash.get(_VALUES, {})
    if not values:
        return
    commit = config.hook.pytest_benchmark_generate_commit_info(config=config)
    machine = config.hook.pytest_benchmark_generate_machine_info(config=config)
    path = config.getoption("figures") or _default_path(config.rootpath, commit)
    terminalreporter.section("measured figures and their targets")
    for line in lines(values):
        terminalreporter.write_line(line)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    replace_file(Path(path), json.dumps(document(values, commit, machine), indent=1) + "\n")
    terminalreporter.write_line(f"written to {path}")


def _default_path(root: Path, commit: Mapping[str, Any]) -> Path:
    """Return the path of the figures' file in the folder of saved runs, named after the commit."""
    dirty = "-dirty" if commit.get("dirty") else ""
    return root / ".benchmarks" / f"figures-{str(commit.get('id'))[:8]}{dirty}.json"
