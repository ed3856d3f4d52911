"""On a real GPU: what is recorded about it, and that a system without one may come first."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.measuring import gpu
from benchmarks.measuring.protocol import PeakMemory
from benchmarks.results.store import read_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def test_the_driver_is_asked_only_what_nvidia_ml_py_can_ask() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    functions = set(re.findall(r"\bnvml\.(nvml\w+|NVML\w+)", inspect.getsource(gpu)))
    assert len(functions) > 10
    assert {name for name in functions if not hasattr(pynvml, name)} == set()


def test_a_peak_is_asked_for_before_any_gpu_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise RuntimeError("Invalid device argument 0: did you call init?")  # as torch does

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", refuse)
    assert PeakMemory().device_bytes() is None


@needs_gpu
def test_a_gpus_cell_notes_clocks_energy_memory_and_stages_after_one_that_used_no_gpu(
    write_experiment: Callable[..., Path], tmp_path: Path, tiny_classifier: str
) -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    systems = ["first-stage", {"name": "cross-encoder", "options": {"model": tiny_classifier}}]
    path = write_experiment(queries=30, depth=20, rerankers=systems, protocol={"repeats": 20})
    code = "import sys, torch; from benchmarks.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "run", str(path), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    without, using = read_results(tmp_path / "out").cells
    assert without.record.sessions[0].peak_device_bytes is None
    assert str(using.record.system.described["device"]).startswith("cuda")
    (session,) = using.record.sessions
    assert session.environment["gpu"][0]["model"] == torch.cuda.get_device_name(0)
    assert session.environment["gpu"][0]["power_cap_watts"]
    assert session.peak_device_bytes is not None
    assert session.peak_device_bytes > 10**4
    assert session.device_joules is not None
    assert session.device_joules > 0
    first, last = session.samples[0], session.samples[-1]
    assert first["elapsed_seconds"] < last["elapsed_seconds"]
    for name in ("clock_mhz", "memory_clock_mhz", "temperature_celsius", "power_watts", "power_cap_watts"):
        assert last["gpu"][0][name] > 0
    assert all(row.control_seconds is None for row in using.rows)
    assert all(0 < sum(row.stage_seconds.values()) <= row.total_seconds for row in using.rows)


@needs_gpu
def test_a_stage_pays_for_the_kernels_it_launches() -> None:
    from rerankers.interface import Cost
    from rerankers.models.devices import synchroniser
    from rerankers.stages import StageClock

    matrix = torch.randn(4096, 4096, device="cuda")
    matrix @ matrix  # pays for what is loaded once
    clock, launched, after = StageClock(synchronise=synchroniser("cuda")), Cost(), Cost()
    with clock.stage("forward", launched):
        for _ in range(50):
            matrix = matrix @ matrix / 4096
    with clock.stage("order", after):
        pass
    assert launched.stage_seconds["forward"] > 20 * after.stage_seconds["order"]
