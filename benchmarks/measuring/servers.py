"""The two servers that answer requests in served mode: a reranker in this process, and an endpoint."""

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
    """A reranker in this process as one server, which takes up to `batch_size` waiting requests a call.

    Its time `now`, in seconds, passes while it ranks or waits for an arrival. It stands still while the
    harness checks and writes, so that only the reranker's own calls make a queue.

    Args:
        reranker: the reranker that ranks.
        protocol: batch size, and the seed from which each call is seeded.
        clock: times the reranker's calls.
        wait: function that lets the given seconds pass.
    """

    def __init__(
        self, reranker: Reranker, protocol: Protocol, clock: StageClock, wait: Callable[[float], None]
    ) -> None:
        self.now = 0.0
        self._reranker, self._protocol, self._clock, self._wait = reranker, protocol, clock, wait

    def serve(
        self, requests: Sequence[RerankRequest], places: Sequence[int], arrivals: Arrivals, repeat: int
    ) -> Iterator[Call]:
        """Rank the requests at the given places, in this order, as they arrive; yield one call for each.

        Args:
            requests: all requests of a repeat.
            places: positions of those to rank.
            arrivals: when these arrive.
            repeat: number of the repeat, from 0.
        """
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
        """Wait until the server's time is `arrival` seconds; return at once if it is past."""
        if arrival > self.now:
            self._wait(arrival - self.now)
            self.now = arrival

    def _rank(self, batch: Sequence[RerankRequest], repeat: int) -> list[Ranking]:
        """Rank a batch in one call, advance the server's time by it, and return the rankings.

        Each ranking of a batch of several gets the stage times of the whole call.
        """
        seed_everything(self._protocol.seed, batch[0].query_id, repeat)
        rankings, seconds = timed(self._reranker, batch, self._clock)
        self.now += seconds * len(batch)
        return _with_all_stages(rankings) if len(batch) > 1 else rankings


class EndpointServer:
    """An endpoint as a server that answers several requests at once, in real time.

    Each thread has a connection and a clock of its own. A request's passages are read when it is sent, and
    answers are passed on as they come, so that memory does not grow with the queries.

    Args:
        connections: as many as requests may be under way at once.
        wait: function that lets the given seconds pass.
    """

    def __init__(self, connections: Sequence[Reranker], wait: Callable[[float], None]) -> None:
        self._connections, self._wait = connections, wait
        self._free = list(connections)
        self._clock = StageClock()

    def serve(
        self, requests: Sequence[RerankRequest], places: Sequence[int], arrivals: Arrivals, repeat: int
    ) -> Iterator[Call]:
        """Send the requests at the given places as they arrive; yield one call for each, as answered.

        Args:
            requests: all requests of a repeat.
            places: positions of those to send.
            arrivals: when these arrive.
            repeat: number of the repeat, from 0.
        """
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
        """Return whether two requests per connection are under way; a closed loop submits no more."""
        return under_way >= 2 * len(self._connections)

    def _next_arrival(self, arrivals: Arrivals, started: float) -> float | None:
        """Wait for the next arrival of an open loop and return its time; return None in a closed loop.

        Args:
            arrivals: the arrivals.
            started: clock time at which the repeat started.
        """
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
        """Send the request at a place over a free connection, and return its call, timed.

        Args:
            requests: all requests of a repeat.
            place: position of the request.
            repeat: number of the repeat, from 0.
            started: clock time at which the repeat started.
            arrived: arrival in seconds from then; None for a closed loop, where it arrives when it is sent.
        """
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
    """Return the rankings of one call, each with the stage seconds of all of them summed.

    A request waits for those that are ranked with it.
    """
    together: dict[Stage, float] = {}
    for ranking in rankings:
        for stage, seconds in ranking.stage_seconds.items():
            together[stage] = together.get(stage, 0.0) + seconds
    return [replace(ranking, stage_seconds=together) for ranking in rankings]
