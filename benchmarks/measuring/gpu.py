"""Readings of NVIDIA GPUs from the driver, through nvidia-ml-py where it is installed.

`models` never changes on a machine; `state` changes from second to second.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SLOWED_BY = {  # nvmlClocksEventReasons in nvml.h
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal limit",
    0x40: "hardware thermal limit",
    0x80: "power brake",
}


def models() -> list[dict[str, Any]]:
    """Return model, memory in bytes, driver and power cap in watts of each GPU; empty without one.

    Without nvidia-ml-py, torch tells model and memory.
    """
    with _driver() as nvml:
        if nvml is None:
            return _models_by_torch()
        return [
            {
                "model": nvml.nvmlDeviceGetName(gpu),
                "memory_bytes": getattr(_ask(nvml, nvml.nvmlDeviceGetMemoryInfo, gpu), "total", None),
                "driver": nvml.nvmlSystemGetDriverVersion(),
                "power_cap_watts": _milli(_ask(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, gpu)),
            }
            for gpu in _handles(nvml)
        ]


def state() -> list[dict[str, Any]]:
    """Return clocks, temperature, power, power cap and the driver's throttle bits of each GPU."""
    with _driver() as nvml:
        if nvml is None:
            return []
        return [
            {
                "clock_mhz": _ask(nvml, nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_SM),
                "memory_clock_mhz": _ask(nvml, nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_MEM),
                "temperature_celsius": _ask(
                    nvml, nvml.nvmlDeviceGetTemperature, gpu, nvml.NVML_TEMPERATURE_GPU
                ),
                "power_watts": _milli(_ask(nvml, nvml.nvmlDeviceGetPowerUsage, gpu)),
                "power_cap_watts": _milli(_ask(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, gpu)),
                "throttle_reasons": _ask(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, gpu),
            }
            for gpu in _handles(nvml)
        ]


def energy_joules() -> float | None:
    """Return the sum of the GPUs' energy counters; None without a GPU, or where one does not count."""
    with _driver() as nvml:
        counts = (
            [_ask(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, gpu) for gpu in _handles(nvml)]
            if nvml
            else []
        )
    counted = [count for count in counts if count is not None]
    return sum(counted) / 1000 if counted and len(counted) == len(counts) else None


def slowed_by(throttle_reasons: int | None) -> list[str]:
    """Return the names of the reasons in the driver's throttle bits that mean a loss of speed.

    Idling and clocks that someone set are left out.
    """
    return [name for bit, name in _SLOWED_BY.items() if (throttle_reasons or 0) & bit]


@contextmanager
def _driver() -> Iterator[Any]:
    """Provide the initialised pynvml module within the block; None without package or driver."""
    try:
        import pynvml  # type: ignore[import-not-found,unused-ignore]  # optional, and without types
    except ModuleNotFoundError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _handles(nvml: Any) -> list[Any]:
    """Return driver handles of the GPUs that this process may use: all, or those in `CUDA_VISIBLE_DEVICES`.

    A number is taken for the driver's own, which is CUDA's where all GPUs are alike, and everywhere under
    `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    handles = []
    for name in (part.strip() for part in visible.split(",")):
        try:
            by_number = name.isdigit()
            handles.append(
                nvml.nvmlDeviceGetHandleByIndex(int(name))
                if by_number
                else nvml.nvmlDeviceGetHandleByUUID(name)
            )
        except nvml.NVMLError:
            break  # CUDA, too, sees those before a wrong one only
    return handles


def _ask(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the driver with the arguments; return None where the GPU does not support it."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None  # many virtual machines keep some of this to themselves


def _milli(value: int | None) -> float | None:
    """Divide a value by 1000, such as milliwatts into watts; None stays None."""
    return None if value is None else value / 1000


def _models_by_torch() -> list[dict[str, Any]]:
    """Return model and memory in bytes of each GPU as torch sees it; empty where torch is not loaded."""
    torch = sys.modules.get("torch")  # not imported for this alone: it takes seconds
    if torch is None or not torch.cuda.is_available():
        return []
    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [{"model": device.name, "memory_bytes": device.total_memory} for device in properties]
