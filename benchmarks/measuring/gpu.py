"""NVIDIA GPUs as the driver sees them, through nvidia-ml-py where it is installed.

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
    """Return model, memory, driver and power cap of each GPU; empty where there is none."""
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
    """Return clocks, temperature, power and its cap, and the driver's bits for why it throttles,
    of each GPU.
    """
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
    """Sum of the GPUs' energy counters; None without a GPU, or where one does not count."""
    with _driver() as nvml:
        counts = (
            [_ask(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, gpu) for gpu in _handles(nvml)]
            if nvml
            else []
        )
    counted = [count for count in counts if count is not None]
    return sum(counted) / 1000 if counted and len(counted) == len(counts) else None


def slowed_by(throttle_reasons: int | None) -> list[str]:
    """Return the driver's bits as reasons, without those that mean no loss: idling,
    and clocks that someone set.
    """
    return [name for bit, name in _SLOWED_BY.items() if (throttle_reasons or 0) & bit]


@contextmanager
def _driver() -> Iterator[Any]:
    """Give the driver's library, initialised; None without the package or without a driver."""
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
    """Return the GPUs that this process may use: all, or those that `CUDA_VISIBLE_DEVICES` names,
    as Ray has it.

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
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None  # many virtual machines keep some of this to themselves


def _milli(value: int | None) -> float | None:
    return None if value is None else value / 1000


def _models_by_torch() -> list[dict[str, Any]]:
    torch = sys.modules.get("torch")  # not imported for this alone: it takes seconds
    if torch is None or not torch.cuda.is_available():
        return []
    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [{"model": device.name, "memory_bytes": device.total_memory} for device in properties]
