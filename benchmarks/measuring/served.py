"""Mode `served`: requests arrive on their own or from so many clients, and latency includes waiting.

With a `rate` the loop is open: arrivals follow a schedule drawn from the protocol's seed, whether or not
earlier requests are answered; Poisson arrivals have exponential gaps. Without, it is closed: each of
`concurrency` clients sends its next request once it has its answer. For how much the two differ see
Schroeder, Wierman and Harchol-Balter, "Open versus closed: a cautionary tale" (NSDI 2006).

A reranker in this process is one server: it takes what waits, first come first served, `batch_size` requests
at most in a call. Its time stands still while the harness checks and writes, so that only the reranker's own
calls make a queue. Requests to an endpoint, which serves side by side, are sent by threads in real time.

A resumed run begins with an empty queue at the first request that is missing.
"""

from __future__ import annotations

import gc
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.measuring.seeds import seed_everything
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from benchmarks.results.record import Protocol, Served
    from rerankers.interface import Ranking, Reranker, RerankRequest
    from rerankers.stages import Stage

    Timed = Callable[[Reranker, Sequence[RerankRequest], StageClock], tuple[list[Ranking], float]]


class Call(NamedTuple):
    """The measurements of requests that were ranked together; the fields are those of `QueryRow`."""

    rankings: list[Ranking]
    repeat: int
    total_seconds: float
    arrived_seconds: float | None = None
    queued_seconds: float | None = None


def serve(
    rerankers: Sequence[Reranker],
    requests: Sequence[RerankRequest],
    protocol: Protocol,
    clock: StageClock,
    done: Container[tuple[str, int]],
    timed: Timed,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Call]:
    """Rank all requests `protocol.repeats` times as they arrive.

    Args:
        rerankers: one; or as many connections to an endpoint as requests may be under way at once.
        requests: in the order of arrival.
        protocol: `served` says how they arrive.
        clock: reads the time of a reranker in this process.
        done: (query id, repeat) pairs that are measured already.
        timed: ranks requests and returns the rankings, and seconds for each of them.
        wait: lets seconds pass.

    Yields:
        one call for each request; `arrived_seconds` counts from the start of the repeat.
    """
    assert protocol.served is not None  # noqa: S101 - `Protocol` sees to it
    for repeat in range(protocol.repeats):
        left = [place for place, each in enumerate(requests) if (each.query_id, repeat) not in done]
        if not left:
            continue
        arrivals = _schedule(protocol.served, len(requests), f"{protocol.seed} {repeat}")
        first = arrivals[left[0]] if arrivals else 0.0
        arrivals = [arrivals[place] - first for place in left] if arrivals else []
        if len(rerankers) > 1:
            yield from _side_by_side(rerankers, requests, left, arrivals, repeat, timed, wait)
        else:
            yield from _one_by_one(
                rerankers[0], requests, left, arrivals, repeat, protocol, clock, timed, wait
            )


def _schedule(served: Served, count: int, seed: str) -> list[float]:
    """Return when the requests of an open loop arrive, in seconds from its start; empty for a closed one."""
    if served.rate is None:
        return []
    draw = random.Random(seed)  # noqa: S311 - no secret
    now, arrivals = 0.0, []
    for _ in range(count):
        arrivals.append(now)
        now += draw.expovariate(served.rate) if served.arrivals == "poisson" else 1.0 / served.rate
    return arrivals


def _one_by_one(
    reranker: Reranker,
    requests: Sequence[RerankRequest],
    left: list[int],
    arrivals: list[float],
    repeat: int,
    protocol: Protocol,
    clock: StageClock,
    timed: Timed,
    wait: Callable[[float], None],
) -> Iterator[Call]:
    """Yield the calls of a single server; `now` is its own time."""
    assert protocol.served is not None  # noqa: S101 - `Protocol` sees to it
    size, clients = protocol.batch_size, protocol.served.concurrency or 1
    is_closed = not arrivals
    arrivals = [0.0] * min(clients, len(left)) if is_closed else arrivals
    now, begin = 0.0, 0
    while begin < len(left):
        if arrivals[begin] > now:
            wait(arrivals[begin] - now)
            now = arrivals[begin]
        waiting = sum(arrived <= now for arrived in arrivals[begin : begin + size])
        batch = [requests[place] for place in left[begin : begin + waiting]]
        seed_everything(protocol.seed, batch[0].query_id, repeat)
        rankings, seconds = timed(reranker, batch, clock)
        end = now + seconds * len(batch)
        if len(batch) > 1:
            rankings = _as_experienced(rankings)
        for arrived, ranking in zip(arrivals[begin : begin + waiting], rankings, strict=True):
            yield Call([ranking], repeat, end - arrived, arrived, now - arrived)
        gc.collect(1)
        if is_closed:
            arrivals += [end] * waiting
        now, begin = end, begin + waiting


def _as_experienced(rankings: list[Ranking]) -> list[Ranking]:
    """Rankings of one call with all of its stages: a request waits for those that are ranked with it."""
    together: dict[Stage, float] = {}
    for ranking in rankings:
        for stage, seconds in ranking.stage_seconds.items():
            together[stage] = together.get(stage, 0.0) + seconds
    return [replace(ranking, stage_seconds=together) for ranking in rankings]


def _side_by_side(
    connections: Sequence[Reranker],
    requests: Sequence[RerankRequest],
    left: list[int],
    arrivals: list[float],
    repeat: int,
    timed: Timed,
    wait: Callable[[float], None],
) -> Iterator[Call]:
    """Yield the calls of an endpoint, in real time; each thread has a connection and a clock of its own.

    A request's passages are read when it is sent, and answers are passed on as they come, so that memory does
    not grow with the queries.
    """
    free = list(connections)
    answered: SimpleQueue[Future[Call]] = SimpleQueue()
    real = StageClock()
    started = real.now()

    def send(place: int, arrived: float | None) -> Call:
        request = requests[place]
        begun = real.now() - started
        connection = free.pop()
        try:
            rankings, seconds = timed(connection, [request], StageClock())
        finally:
            free.append(connection)
        arrived = begun if arrived is None else arrived  # a client sends when it is free
        return Call(rankings, repeat, begun - arrived + seconds, arrived, begun - arrived)

    with ThreadPoolExecutor(len(connections)) as threads:
        under_way = 0
        try:
            for number, place in enumerate(left):
                if arrivals:
                    wait(max(0.0, arrivals[number] - (real.now() - started)))
                sent = threads.submit(send, place, arrivals[number] if arrivals else None)
                sent.add_done_callback(answered.put)
                under_way += 1
                # Clients find their next request waiting, and no more than that are held.
                while not answered.empty() or (not arrivals and under_way >= 2 * len(connections)):
                    yield answered.get().result()
                    under_way -= 1
                    gc.collect(1)
            for _ in range(under_way):
                yield answered.get().result()
                gc.collect(1)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
