"""The arrival times of requests at a server: on a schedule, or from clients that wait for their answers.

The loop is open where a `rate` is given: arrivals are drawn beforehand from the protocol's seed, whether or
not earlier requests are answered. Poisson arrivals have exponential gaps. Without a rate the loop is closed:
each of `concurrency` clients sends its next request once it has its answer. For how much the two differ see
Schroeder, Wierman and Harchol-Balter, "Open versus closed: a cautionary tale" (NSDI 2006).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results.record import Served


class Arrivals:
    """The queue of the requests of one repeat, with arrival times in seconds from the start of the repeat.

    A request first has yet to arrive, then waits, then is taken by the server. Requests are taken in their
    order.

    Args:
        count: requests that will arrive.
        schedule: when each of them arrives, in ascending order; None for a closed loop.
        clients: number of clients of a closed loop.

    Attributes:
        is_open: whether requests arrive on a schedule.
    """

    def __init__(self, count: int, schedule: Sequence[float] | None, clients: int = 1) -> None:
        self.is_open = schedule is not None
        self._count = count
        self._seconds = [0.0] * min(clients, count) if schedule is None else list(schedule)
        self._taken = 0

    @property
    def next(self) -> float | None:
        """The arrival time in seconds of the first request that is not taken; None once all are taken."""
        return self._seconds[self._taken] if self._taken < self._count else None

    def take(self, now: float, most: int) -> list[float]:
        """Take up to `most` requests that have arrived by `now` seconds; return their arrival times."""
        candidates = self._seconds[self._taken : self._taken + most]
        taken = [arrived for arrived in candidates if arrived <= now]
        self._taken += len(taken)
        return taken

    def answer(self, count: int, now: float) -> None:
        """Tell `count` clients of a closed loop, at `now` seconds, that their requests are answered.

        Each sends its next request at that moment, as long as requests are left. An open loop ignores it.
        """
        if not self.is_open:
            self._seconds += [now] * min(count, self._count - len(self._seconds))


def arrivals_of(served: Served, places: Sequence[int], count: int, seed: str) -> Arrivals:
    """Return the arrivals of the requests of a repeat that are left; the first arrives at second 0.

    Args:
        served: how requests arrive.
        places: positions of these requests among all, in the order of arrival.
        count: requests of a whole repeat.
        seed: seed of the repeat's schedule.
    """
    if served.rate is None:
        return Arrivals(len(places), None, served.concurrency or 1)
    schedule = scheduled(served, count, seed)
    first = schedule[places[0]]
    return Arrivals(len(places), [schedule[place] - first for place in places])


def scheduled(served: Served, count: int, seed: str) -> list[float]:
    """Draw the arrival times of `count` requests of an open loop, in ascending seconds from its start."""
    assert served.rate is not None  # noqa: S101 - the caller sees to it
    draw = random.Random(seed)  # noqa: S311 - no secret
    now, seconds = 0.0, []
    for _ in range(count):
        seconds.append(now)
        now += draw.expovariate(served.rate) if served.arrivals == "poisson" else 1.0 / served.rate
    return seconds
