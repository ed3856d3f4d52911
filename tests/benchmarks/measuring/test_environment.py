"""The environment tells machines apart and people not."""

from __future__ import annotations

import getpass
import json
import platform
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.measuring import gpu
from benchmarks.measuring.conditions import Conditions, throttling
from benchmarks.measuring.environment import environment
from rerankers.stages import StageClock


def test_the_environment_is_json_and_says_what_was_used() -> None:
    recorded = environment()
    assert json.loads(json.dumps(recorded)) == recorded
    assert recorded["cpu"]["model"]
    assert recorded["cpu"]["usable_threads"] >= 1
    assert recorded["libraries"]["rerankbench"]
    assert recorded["python"] == platform.python_version()


def test_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    monkeypatch.setattr(platform, "node", lambda: "canary-host")
    written = json.dumps(environment())
    assert "canary" not in written
    assert f"/{getpass.getuser()}/" not in written


def test_what_changes_by_the_minute_stands_apart() -> None:
    first, second = environment(), environment()
    assert (first["cpu"], first.get("gpu")) == (second["cpu"], second.get("gpu"))
    assert "load_average" in first["state"]


class FakeDriver(SimpleNamespace):
    """nvidia-ml-py as far as it is used, on a machine that keeps its power draw to itself."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
    NVML_TEMPERATURE_GPU = 0
    is_open = False

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open = False

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object) -> None:
            raise self.NVMLError

        if name == "nvmlDeviceGetClockInfo":
            return lambda _, kind: {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 2619}[kind]
        if name == "nvmlDeviceGetTotalEnergyConsumption" and "energy" in self.__dict__:
            return lambda *_: next(self.__dict__["energy"])

        answers: dict[str, Any] = {
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetName": "NVIDIA H100",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=80 * 2**30),
            "nvmlSystemGetDriverVersion": "570.1",
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTemperature": 41,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 4,
        }
        return (lambda *_: answers[name]) if name in answers else refuse


def test_a_gpu_is_described_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert gpu.models() == [
        {"model": "NVIDIA H100", "memory_bytes": 80 * 2**30, "driver": "570.1", "power_cap_watts": 700.0}
    ]
    assert gpu.state() == [
        {
            "clock_mhz": 1980,
            "memory_clock_mhz": 2619,
            "temperature_celsius": 41,
            "power_watts": None,
            "power_cap_watts": 700.0,
            "throttle_reasons": 4,
        }
    ]
    assert not driver.is_open


@pytest.mark.parametrize(
    ("visible", "asked"),
    [(None, [0, 1]), ("1", [1]), ("1, 0", [1, 0]), ("GPU-5a", ["GPU-5a"]), ("", []), ("0,-1,1", [0])],
)
def test_only_the_gpus_that_a_process_may_use_are_its_own(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, asked: list[int | str]
) -> None:
    seen: list[int | str] = []
    driver = FakeDriver(nvmlDeviceGetCount=lambda: 2)
    driver.nvmlDeviceGetHandleByIndex = seen.append
    driver.nvmlDeviceGetHandleByUUID = lambda name: (
        seen.append(name) if name[:3] == "GPU" else driver.refuse()
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert len(gpu.models()) == len(asked)
    assert seen == asked


def test_throttling_energy_and_clocks_of_a_gpu_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeDriver(energy=iter([1_000, 61_500])))
    watched = Conditions([], StageClock(), has_control=False)
    assert watched.end() == 60.5
    assert len(watched.samples) == 2  # however short it was, at its start and at its end
    assert watched.samples[0]["gpu"][0]["clock_mhz"] == 1980
    assert throttling(watched.samples) == ["power cap"]
    assert gpu.slowed_by(0x1 | 0x2) == []  # idle, and clocks that someone set
    assert gpu.slowed_by(0x8 | 0x40) == ["hardware slowdown", "hardware thermal limit"]
    assert gpu.slowed_by(None) == []
