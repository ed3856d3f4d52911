"""The timed calls of a reranker: warm-up apart from values, nothing else inside a timed call.

The clock is read only once the device is idle. Python's garbage collector is off while a call is timed and
runs between calls, over what came since alone.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from benchmarks.measuring.seeds import seed_everything
from rerankers.errors import BackendError, ModelError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from benchmarks.results.record import Protocol, WarmupEnd
    from rerankers.interface import Ranking, Reranker, RerankRequest
    from rerankers.stages import StageClock

_Item = TypeVar("_Item")

COLLECT_EVERY_SECONDS = 0.02  # of calls: after each one of a model, after some of a trivial one
STABLE_CALLS = 5
STABLE_TOLERANCE = 0.1
STABLE_MAXIMUM = 30


class Call(NamedTuple):
    """The measurements of requests that were ranked together; the fields are those of `QueryRow`.

    Attributes:
        rankings: one ranking for each request.
        repeat: which repeat it was, from 0.
        total_seconds: wall time divided by the number of requests; in served mode with the wait before it.
        arrived_seconds: when the request arrived, from the start of the repeat; None in other modes than
            served.
        queued_seconds: how long it waited before it was taken; None in other modes than served.
    """

    rankings: list[Ranking]
    repeat: int
    total_seconds: float
    arrived_seconds: float | None = None
    queued_seconds: float | None = None


def warm_up(
    reranker: Reranker, requests: Sequence[RerankRequest], protocol: Protocol, clock: StageClock
) -> tuple[tuple[float, ...], WarmupEnd]:
    """Rank requests that have candidates, throw the rankings away, and return the seconds that calls took.

    Their candidates are turned around, so that nothing that is measured is answered from a response cache, or
    from an endpoint's cache of prompts, because of the warm-up. A number of warm-up queries takes the first
    ones. `stable` repeats one and the same call until the last 5 lie within 10 % of their median, or for 30
    calls.

    Returns:
        seconds per request, one value for each request of a fixed number, or one for each call of `stable`;
        and why the warm-up ended.
    """
    answerable = (
        replace(request, candidates=request.candidates[::-1]) for request in requests if request.candidates
    )
    seconds: list[float] = []
    if protocol.warmup != "stable":
        for batch in batches(list(islice(answerable, protocol.warmup)), protocol.batch_size):
            seconds += [timed(reranker, batch, clock)[1]] * len(batch)
        return tuple(seconds), "fixed"
    first = list(islice(answerable, protocol.batch_size))
    while first and not _is_stable(seconds):
        if len(seconds) == STABLE_MAXIMUM:
            return tuple(seconds), "maximum"
        seconds.append(timed(reranker, first, clock)[1])
    return tuple(seconds), "stable"


def warmup_queries(protocol: Protocol, count: int) -> int:
    """Return how many queries a warm-up ranks at most, out of `count` queries that all have candidates."""
    if protocol.warmup != "stable":
        return min(protocol.warmup, count)
    return STABLE_MAXIMUM * min(protocol.batch_size, count)


def _is_stable(seconds: Sequence[float]) -> bool:
    """Return whether there are 5 values and the last 5 span at most 10 % of their median."""
    last = seconds[-STABLE_CALLS:]
    return len(last) == STABLE_CALLS and max(last) - min(last) <= STABLE_TOLERANCE * median(last)


def measure(
    reranker: Reranker,
    requests: Sequence[RerankRequest],
    protocol: Protocol,
    clock: StageClock,
    done: Container[tuple[str, int]],
    *,
    is_remote: bool = False,
) -> Iterator[Call | None]:
    """Rank all requests, `protocol.repeats` times, for modes `latency` and `throughput`.

    Batches are cut from all requests whatever is done, so that a resumed run forms the same ones; a batch
    whose (query id, repeat) pairs are all in `done` is skipped. Of a batch that an endpoint failed in, the
    rankings that were finished are kept, and a resumed run asks for the others only: answers are paid once.

    Args:
        reranker: the reranker to time.
        requests: all requests, in their order.
        protocol: batch size, repeats and seed.
        clock: times the calls.
        done: (query id, repeat) pairs that an earlier run measured.
        is_remote: whether the reranker is an endpoint, which is asked for the missing requests only.

    Yields:
        the measurements of one call; None for a batch that is skipped, so that systems measured in turn stay
        at the same query.
    """
    uncollected = 0.0
    for repeat in range(protocol.repeats):
        for batch in batches(requests, protocol.batch_size):
            missing = [request for request in batch if (request.query_id, repeat) not in done]
            if not missing:
                yield None
                continue
            seed_everything(protocol.seed, batch[0].query_id, repeat)
            started = clock.now()
            try:
                rankings, seconds = timed(reranker, missing if is_remote else batch, clock)
            except BackendError as error:
                if error.finished:
                    seconds = (clock.now() - started) / len(error.finished)
                    yield Call(list(error.finished), repeat, seconds)
                raise
            yield Call(rankings, repeat, seconds)
            uncollected += seconds * len(rankings)
            if uncollected > COLLECT_EVERY_SECONDS:
                uncollected = 0.0
                gc.collect(1)


def timing(clock: StageClock, samples: int = 200) -> dict[str, object]:
    """Measure the cost of timing itself, and return it as an entry of the record.

    Keys are the median seconds of reading the clock (which waits for the device) and of an empty stage, the
    clock's resolution in seconds, and the garbage collector's state.

    Args:
        clock: the clock to measure.
        samples: readings of which the median is taken.
    """
    reads, stages = [], []
    for _ in range(samples):
        started = clock.now()
        reads.append(clock.now() - started)
        started = clock.now()
        with clock.stage("order"):
            pass
        stages.append(clock.now() - started)
    return {
        "clock_read_seconds": median(reads),
        "clock_resolution_seconds": time.get_clock_info("perf_counter").resolution,
        "stage_overhead_seconds": median(stages),
        "garbage_collector": "off in timed calls",
    }


class PeakMemory:
    """A meter of the largest memory in use since it was made, on the host (resident) and on the GPUs.

    Attributes:
        before_bytes: resident memory when it was made, after free memory went back to the system; None where
            the system does not say.
    """

    def __init__(self) -> None:
        _give_free_memory_back()
        self.before_bytes = _status_bytes("VmRSS")
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: reset VmHWM
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():  # which a reranker may do later
            for device in range(torch.cuda.device_count()):
                torch.cuda.reset_peak_memory_stats(device)

    def host_bytes(self) -> int | None:
        """Return the process's peak resident memory in bytes; None where the system does not keep it."""
        return _status_bytes("VmHWM")

    def device_bytes(self) -> int | None:
        """Return the peak bytes that torch allocated, summed over the GPUs; None where none was used."""
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return None
        devices = range(torch.cuda.device_count())
        return sum(int(torch.cuda.max_memory_allocated(device)) for device in devices)


def _status_bytes(name: str) -> int | None:
    """Return the named entry of Linux's `/proc/self/status`, such as `VmRSS`, in bytes; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    amounts = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")]
    return amounts[0] if amounts else None


def _give_free_memory_back() -> None:
    """Return freed memory to the system: what an earlier system freed would hide what the next one takes."""
    gc.collect()
    with suppress(OSError, AttributeError):  # other C libraries have no such function
        ctypes.CDLL(None).malloc_trim(0)


def timed(
    reranker: Reranker, batch: Sequence[RerankRequest], clock: StageClock
) -> tuple[list[Ranking], float]:
    """Make one call, check its rankings, and return them with the call's wall time divided by its requests.

    Raises:
        ModelError: the result is not one permutation of the candidates for each request, in order.
    """
    started = clock.now()
    rankings = reranker.rerank(batch, clock)
    seconds = (clock.now() - started) / len(batch)
    if [ranking.query_id for ranking in rankings] != [request.query_id for request in batch]:
        raise ModelError("the reranker answered other queries than it was asked; fix its rerank()")
    for request, ranking in zip(batch, rankings, strict=True):
        if len(ranking.doc_ids) != len(request.doc_ids) or request.doc_ids != set(ranking.doc_ids):
            raise ModelError(
                f"query {request.query_id!r}: the ranking is no permutation of the candidates; fix rerank()"
            )
    return rankings, seconds


def batches(requests: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Cut requests, or other items, into sequences of `size`; the last one may be shorter."""
    for start in range(0, len(requests), size):
        yield requests[start : start + size]
