"""Measurements of the device and of the cost of measuring: bandwidth, kernel launches, stage clock."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from rerankers import StageClock
from rerankers.interface import Cost
from rerankers.models.devices import synchroniser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers import Reranker, RerankRequest


def bandwidth_bytes_per_second(device: str, size: int) -> float:
    """Copy a tensor of `size` bytes on a device; return the bytes read and written per second."""
    import torch

    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    wait = synchroniser(device)
    seconds = [_seconds(lambda: target.copy_(source), wait) for _ in range(12)]
    return 2 * size / min(seconds[2:])


def stage_cost(device: str, samples: int = 300) -> dict[str, float]:
    """Time a tiny operation in several ways, and return the median seconds of each.

    Keys are `bare_seconds` (untimed), `synchronising_seconds` (in a stage that waits for the device) and, on
    a GPU, `events_seconds` (between two CUDA events).
    """
    import torch

    clock, cost = StageClock(synchronise=synchroniser(device)), Cost()
    numbers = torch.ones(64, device=device)

    def staged() -> None:
        with clock.stage("order", cost):
            numbers.add_(1)

    def with_events() -> None:
        event: Any = torch.cuda.Event
        started, ended = event(enable_timing=True), event(enable_timing=True)
        started.record()
        numbers.add_(1)
        ended.record()

    ways: dict[str, Callable[[], object]] = {"bare": lambda: numbers.add_(1), "synchronising": staged}
    if torch.device(device).type == "cuda":
        ways["events"] = with_events
    wait = synchroniser(device)
    medians = {}
    for name, way in ways.items():
        medians[f"{name}_seconds"] = statistics.median(_seconds(way, lambda: None) for _ in range(samples))
        wait()
    return medians


def passes(reranker: Reranker, request: RerankRequest, weight_bytes: int, bandwidth: float) -> dict[str, Any]:
    """Rank a query; return its forward passes, kernel launches, times and share of the bandwidth.

    Args:
        reranker: a PE-Rank.
        request: the request; it is ranked once for the times and once more while launches are counted.
        weight_bytes: bytes of weights that every pass has to read.
        bandwidth: bytes per second that the device can read and write.

    Returns:
        `bandwidth_share` is the share of `bandwidth` that prefill and decoding reach together: where windows
        are drafted ahead, one pass belongs to both.
    """
    [ranking] = reranker.rerank([request], StageClock(synchronise=synchroniser(reranker.device)))
    usage, seconds = ranking.usage, ranking.stage_seconds
    count = usage.windows + usage.decode_steps
    return {
        "windows": usage.windows,
        "decode_steps": usage.decode_steps,
        "passes": count,
        "captured_passes": usage.captured_passes,
        "uncaptured_passes": usage.uncaptured_passes,
        "stage_seconds": dict(seconds),
        "kernel_launches_per_pass": _launches(reranker, request) / count,
        "bandwidth_share": count * weight_bytes / bandwidth / (seconds["prefill"] + seconds["decode"]),
    }


def _launches(reranker: Reranker, request: RerankRequest) -> int:
    """Rank a request and count the kernels launched on a GPU, or torch's operations on a CPU."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.device(reranker.device).type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        reranker.rerank([request], StageClock(synchronise=synchroniser(reranker.device)))
    events: Sequence[Any] = profiled.events() or ()
    return sum("memcpy" not in event.name.lower() and "memset" not in event.name.lower() for event in events)


def _seconds(work: Callable[[], object], wait: Callable[[], None]) -> float:
    """Return the seconds that `work` takes; `wait` lets the device become idle before and after."""
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started
