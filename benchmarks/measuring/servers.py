"""The two servers that requests wait for: a reranker in this process, and an endpoint."""

from __future__ import annotations

import gc
import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from benchmarks.measuring.protocol import Call, timed
from benchmarks.measuring.seeds import seed_everything
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.measuring.arrivals import Arrivals
    from benchmarks.results.record import Protocol
    from rerankers.interface import Ranking, Reranker, RerankRequest
    from rerankers.stages import Stage


class LocalServer:
    """A reranker in this process: one server, which takes up to `batch_size` waiting requests in a call.

    Its time `now`, in seconds, passes while it ranks or waits for an arrival. It stands still while the
    harness checks and writes, so that only the reranker's own calls make a queue.

    Args:
        reranker: ranks, measured by `clock`.
        protocol: the batch size, and the seed of what a call draws.
        clock: reads the time of the reranker.
        wait: lets seconds pass.
    """

    def __init__(
        self, reranker: Reranker, protocol: Protocol, clock: StageClock, wait: Callable[[float], None]
    ) -> None:
        self.now = 0.0
        self._reranker, self._protocol, self._clock, self._wait = reranker, protocol, clock, wait

    def serve(
        self, requests: Sequence[RerankRequest], places: Sequence[int], arrivals: Arrivals, repeat: int
    ) -> Iterator[Call]:
        """Rank the requests at some places, in this order, as they arrive; yield one call for each."""
        begin = 0
        while (arrival := arrivals.next) is not None:
            self._wait_until(arrival)
            began = self.now
            taken = arrivals.take(began, self._protocol.batch_size)
            end = begin + len(taken)
            rankings = self._rank([requests[place] for place in places[begin:end]], repeat)
            for arrived, ranking in zip(taken, rankings, strict=True):
                yield Call([ranking], repeat, self.now - arrived, arrived, began - arrived)
            gc.collect(1)
            arrivals.answer(len(taken), self.now)
            begin = end

    def _wait_until(self, arrival: float) -> None:
        if arrival > self.now:
            self._wait(arrival - self.now)
            self.now = arrival

    def _rank(self, batch: Sequence[RerankRequest], repeat: int) -> list[Ranking]:
        seed_everything(self._protocol.seed, batch[0].query_id, repeat)
        rankings, seconds = timed(self._reranker, batch, self._clock)
        self.now += seconds * len(batch)
        return _with_all_stages(rankings) if len(batch) > 1 else rankings


class EndpointServer:
    """An endpoint, which serves side by side, in real time.

    Each thread has a connection and a clock of its own. A request's passages are read when it is sent, and
    answers are passed on as they come, so that memory does not grow with the queries.

    Args:
        connections: as many as requests may be under way at once.
        wait: lets seconds pass.
    """

    def __init__(self, connections: Sequence[Reranker], wait: Callable[[float], None]) -> None:
        self._connections, self._wait = connections, wait
        self._free = list(connections)
        self._clock = StageClock()

    def serve(
        self, requests: Sequence[RerankRequest], places: Sequence[int], arrivals: Arrivals, repeat: int
    ) -> Iterator[Call]:
        """Send the requests at some places as they arrive; yield one call for each, as it is answered."""
        answered: SimpleQueue[Future[Call]] = SimpleQueue()
        started, under_way = self._clock.now(), 0
        with ThreadPoolExecutor(len(self._connections)) as threads:
            try:
                for place in places:
                    arrived = self._next_arrival(arrivals, started)
                    sent = threads.submit(self._send, requests, place, repeat, started, arrived)
                    sent.add_done_callback(answered.put)
                    under_way += 1
                    while not answered.empty() or (not arrivals.is_open and self._is_full(under_way)):
                        yield answered.get().result()
                        under_way -= 1
                        gc.collect(1)
                for _ in range(under_way):
                    yield answered.get().result()
                    gc.collect(1)
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def _is_full(self, under_way: int) -> bool:
        """Return whether clients find their next request waiting; no more requests than that are held."""
        return under_way >= 2 * len(self._connections)

    def _next_arrival(self, arrivals: Arrivals, started: float) -> float | None:
        """Wait for the next arrival of an open loop; None in a closed one, whose clients send when free."""
        if not arrivals.is_open:
            return None
        [arrived] = arrivals.take(math.inf, 1)
        self._wait(max(0.0, arrived - (self._clock.now() - started)))
        return arrived

    def _send(
        self,
        requests: Sequence[RerankRequest],
        place: int,
        repeat: int,
        started: float,
        arrived: float | None,
    ) -> Call:
        request = requests[place]
        began = self._clock.now() - started
        connection = self._free.pop()
        try:
            rankings, seconds = timed(connection, [request], StageClock())
        finally:
            self._free.append(connection)
        arrived = began if arrived is None else arrived
        return Call(rankings, repeat, began - arrived + seconds, arrived, began - arrived)


def _with_all_stages(rankings: list[Ranking]) -> list[Ranking]:
    """Return rankings of one call with all of its stages: a request waits for those ranked with it."""
    together: dict[Stage, float] = {}
    for ranking in rankings:
        for stage, seconds in ranking.stage_seconds.items():
            together[stage] = together.get(stage, 0.0) + seconds
    return [replace(ranking, stage_seconds=together) for ranking in rankings]
