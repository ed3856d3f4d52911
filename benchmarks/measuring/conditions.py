"""The conditions of a measurement: number of threads, the machine's state, and its run-to-run variation.

On a CPU, whatever else runs there shows in the latencies. An identity control therefore runs alongside: the
first stage's order of one and the same request, timed between the calls that are measured. It costs the same
each time, so that its spread is the machine's and not the system's.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measuring import gpu
from benchmarks.measuring.environment import machine_state
from rerankers.baselines import FirstStage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.interface import RerankRequest
    from rerankers.stages import StageClock

CONTROL_EVERY_SECONDS = 0.02
SAMPLE_EVERY_SECONDS = 5.0
SAMPLES = 120


def pin_threads(threads: int | None) -> int:
    """Limit torch, OpenMP and the loaded BLAS libraries to a number of threads, and return that number.

    Args:
        threads: how many; None takes OMP_NUM_THREADS or, where that is not set, as many as there are physical
            cores that this process may use.
    """
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    requested = os.environ.get("OMP_NUM_THREADS", "")
    pinned = threads or (int(requested) if requested.isdigit() and int(requested) else 0)
    pinned = pinned or min(usable, psutil.cpu_count(logical=False) or usable)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(pinned)
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:  # comes with scikit-learn
        return pinned
    threadpool_limits(pinned)
    return pinned


class Conditions:
    """The monitor of the machine while a cell is measured; it works between calls, never while one is timed.

    Args:
        requests: the cell's requests; the identity control ranks the first one that has candidates.
        clock: the cell's clock.
        has_control: whether the control runs; on a GPU its spread would say nothing.

    Attributes:
        samples: states of the machine (`machine_state`) at the start, every 5 seconds and at the end, with
            `elapsed_seconds` since the start. Beyond 120, every second one is dropped and the interval
            doubled.
    """

    def __init__(self, requests: Sequence[RerankRequest], clock: StageClock, has_control: bool) -> None:
        self._request = next((request for request in requests if request.candidates), None)
        self._clock = clock
        self._has_control = has_control and self._request is not None
        self._control = FirstStage()
        self._started = self._controlled = clock.now()
        self._every = SAMPLE_EVERY_SECONDS
        self._joules = gpu.energy_joules()
        self.samples: list[dict[str, Any]] = []
        self._sample(self._started)

    def between_calls(self) -> float | None:
        """Sample the machine and run the identity control, each if it is due.

        Return the seconds that the control took, or None if it did not run.
        """
        now = self._clock.now()
        if now - self._started >= self.samples[-1]["elapsed_seconds"] + self._every:
            self._sample(now)
        if not self._has_control or self._request is None or now - self._controlled < CONTROL_EVERY_SECONDS:
            return None
        started = self._clock.now()
        self._control.rerank([self._request], self._clock)
        self._controlled = self._clock.now()
        return self._controlled - started

    def end(self) -> float | None:
        """Take a last sample of the machine, and return the joules that the GPUs have drawn since the start.

        The joules come from the GPUs' own counters; None where they have none.
        """
        now = gpu.energy_joules()
        self._sample(self._clock.now())
        return None if now is None or self._joules is None else now - self._joules

    def _sample(self, now: float) -> None:
        """Add the machine's state at clock time `now` to the samples; halve them if there are too many."""
        self.samples.append({"elapsed_seconds": round(now - self._started, 3), **machine_state()})
        if len(self.samples) > SAMPLES:
            self.samples = self.samples[::2]
            self._every *= 2


def noise(control_seconds: Sequence[float]) -> float | None:
    """Return p95 over median, less one, of the identity control's seconds; None for fewer than 20 values."""
    if len(control_seconds) < 20:
        return None
    median, slow = np.quantile(control_seconds, [0.5, 0.95])
    return float(slow / median - 1.0)


def throttling(samples: Sequence[dict[str, Any]]) -> list[str]:
    """Return the reasons for which any sampled GPU was slowed down, sorted; idling is not one."""
    counters = {
        reason
        for sample in samples
        for state in sample.get("gpu", ())
        for reason in gpu.slowed_by(state["throttle_reasons"])
    }
    return sorted(counters)
