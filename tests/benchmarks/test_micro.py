"""Saved benchmark runs are compared value by value, and promised figures stand beside their targets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.micro.ratios.compare import main
from benchmarks.micro.ratios.recording import document
from benchmarks.micro.ratios.targets import TARGETS

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def saved(path: Path, commit: str, seconds: float, node: str = "here", **extra: Any) -> str:
    benchmark = {"name": "test_it", "stats": {"median": seconds}, "extra_info": extra}
    other = {"name": f"only in {commit}", "stats": {"median": 1.0}, "extra_info": {}}
    machine = {"node": node, "cpu": {"brand_raw": "Example CPU"}}
    run = {"machine_info": machine, "commit_info": {"id": commit}, "benchmarks": [other, benchmark]}
    path.write_text(json.dumps(run), encoding="utf-8")
    return str(path)


def test_two_runs_are_compared_by_benchmark_and_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = saved(tmp_path / "old.json", "0123456789", 0.5, prefill_ms=400.0, decode_ms=0.0, note="slow")
    new = saved(tmp_path / "new.json", "abcdef0123", 0.25, prefill_ms=100.0, decode_ms=3.0)
    main([old, new])
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["01234567", "abcdef01", "ratio"]
    assert rows == [
        ["test_it", "median_ms", "500", "250", "0.50"],
        ["test_it", "prefill_ms", "400", "100", "0.25"],
        ["test_it", "decode_ms", "0", "3"],
    ]


def test_runs_of_two_machines_say_nothing_about_the_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (saved(tmp_path / f"{node}.json", "0", 1.0, node) for node in ("here", "there"))
    main([old, new])
    assert "measured on different machines" in capsys.readouterr().out


BENCHMARK = """
def test_it(measured):
    measured("harness/overhead-ms-per-query", 0.05)
    measured("chat-client/speedup", 11.5)
"""


def test_a_benchmark_run_prints_its_figures_beside_their_targets_and_writes_them(tmp_path: Path) -> None:
    module, path = tmp_path / "test_it.py", tmp_path / "figures.json"
    module.write_text(BENCHMARK, encoding="utf-8")
    plugin = ["-p", "benchmarks.micro.ratios.recording", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, f"--figures={path}", str(module)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    printed = {line.split()[0]: line.split()[1:6] for line in run.stdout.splitlines() if "/" in line}
    assert printed["harness/overhead-ms-per-query"] == ["0.05", "at", "most", "0.1", "met"]
    assert printed["chat-client/speedup"] == ["11.5", "at", "least", "12", "MISSED"]
    figures = {figure.pop("name"): figure for figure in json.loads(path.read_text())["figures"]}
    speedup = figures["chat-client/speedup"]
    assert (speedup["value"], speedup["direction"], speedup["target"]) == (11.5, "at least", 12)
    assert not speedup["is_met"]
    assert figures["harness/overhead-ms-per-query"]["is_met"]
    assert len(figures) == 2


def test_two_files_of_figures_are_compared_beside_their_targets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for commit, value in (("0123456789", 0.2), ("abcdef0123", 0.1)):
        paths.append(tmp_path / f"{commit}.json")
        machine = {"node": "here", "cpu": {"brand_raw": "Example CPU"}}
        run = document({"harness/overhead-ms-per-query": value}, {"id": commit}, machine)
        paths[-1].write_text(json.dumps(run), encoding="utf-8")
    main([str(path) for path in paths])
    head, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["01234567", "abcdef01", "ratio"]
    assert row == ["harness/overhead-ms-per-query", "(at", "most", "0.1)", "0.2", "0.1", "0.50"]


def test_every_target_is_measured_by_a_benchmark() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "benchmarks" / "micro").rglob("test_*.py"))
    assert [target.name for target in TARGETS if f'"{target.name}"' not in sources] == []
    assert len({target.name for target in TARGETS}) == len(TARGETS)
