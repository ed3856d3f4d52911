"""The script for a GPU, rehearsed on a CPU with tiny shapes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.cli.main import main as command_line
from benchmarks.gpu_check.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = ["--shape", "tiny", "--device", "cpu", "--queries", "2", "--depths", "4", "8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu") / "check"
    assert main([str(out), *COMMAND, "--steps", "latency", "limits", "throughput", "pointwise"]) == 0
    return out


@pytest.fixture(scope="module")
def check(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "check.json").read_text())
    return content


def test_every_step_measures_all_its_systems(check: dict[str, Any]) -> None:
    counts = {"latency": 2 * 7, "throughput": 4, "pointwise": 3}
    for step, count in counts.items():
        cells = [cell for cell in check["steps"][step].values() if isinstance(cell, dict) and cell]
        assert [cell["queries"] for cell in cells] == [2] * count
        assert all(cell["median_seconds"] > 0 for cell in cells)
        assert check["steps"][step]["failures"] == {}


def test_passes_and_shares_follow_from_the_counts(check: dict[str, Any]) -> None:
    limits = check["steps"]["limits"]
    for mode in ("graphs", "static", "eager"):
        counts = limits[mode]
        assert counts["windows"] == 1  # 8 candidates
        assert counts["passes"] == counts["windows"] + counts["decode_steps"] == limits["eager"]["passes"]
        assert counts["bandwidth_share"] > 0
    assert 0 < limits["static"]["kernel_launches_per_pass"] < limits["eager"]["kernel_launches_per_pass"]
    assert limits["graphs"]["ran"].startswith("static: CUDA graphs need a GPU")
    assert limits["stage_clock"].keys() == {"bare_seconds", "synchronising_seconds"}  # events are CUDA's


def test_random_weights_are_said(check: dict[str, Any]) -> None:
    assert "random weights" in check["note"]


def test_reports_read_the_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["table", str(folder / "latency"), "--format", "csv"]) == 0
    assert "PE-Rank, published way" in capsys.readouterr().out


def test_no_step_begins_after_the_time(folder: Path) -> None:
    again = folder.parent / "again"
    again.mkdir()
    (folder / "models").rename(again / "models")  # what is there is not made again
    assert main([str(again), *COMMAND, "--minutes", "0", "--steps", "latency"]) == 0
    assert not (again / "latency").exists()
    assert "over" in json.loads((again / "check.json").read_text())["steps"]["latency"]["skipped"]
