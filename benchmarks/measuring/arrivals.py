"""When requests arrive at a server: on a schedule of their own, or from clients that wait for their answers.

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
    """The arrivals of the requests of one repeat, in seconds from its start, in the order of the requests.

    A request is first expected, then waiting, once its arrival is past, then taken by the server.

    Args:
        count: requests that will arrive.
        schedule: when each of them arrives, in ascending order; None for a closed loop.
        clients: of a closed loop.
    """

    def __init__(self, count: int, schedule: Sequence[float] | None, clients: int = 1) -> None:
        self.is_open = schedule is not None
        self._count = count
        self._seconds = [0.0] * min(clients, count) if schedule is None else list(schedule)
        self._taken = 0

    @property
    def next(self) -> float | None:
        """Return when the first request that is not taken arrives; None once all are taken."""
        return self._seconds[self._taken] if self._taken < self._count else None

    def take(self, now: float, most: int) -> list[float]:
        """Take up to `most` of the requests that wait now, first come first served; return their arrivals."""
        candidates = self._seconds[self._taken : self._taken + most]
        taken = [arrived for arrived in candidates if arrived <= now]
        self._taken += len(taken)
        return taken

    def answer(self, count: int, now: float) -> None:
        """Give clients of a closed loop their answers, upon which they send the requests that are left."""
        if not self.is_open:
            self._seconds += [now] * min(count, self._count - len(self._seconds))


def arrivals_of(served: Served, places: Sequence[int], count: int, seed: str) -> Arrivals:
    """Return when some of the requests of a repeat arrive; the first of them at once.

    Args:
        served: how requests arrive.
        places: positions of the requests that are left, in the order of arrival.
        count: requests of a whole repeat.
        seed: of the repeat.
    """
    if served.rate is None:
        return Arrivals(len(places), None, served.concurrency or 1)
    schedule = scheduled(served, count, seed)
    first = schedule[places[0]]
    return Arrivals(len(places), [schedule[place] - first for place in places])


def scheduled(served: Served, count: int, seed: str) -> list[float]:
    """Return when the requests of an open loop arrive, in seconds from its start."""
    assert served.rate is not None  # noqa: S101 - the caller sees to it
    draw = random.Random(seed)  # noqa: S311 - no secret
    now, seconds = 0.0, []
    for _ in range(count):
        seconds.append(now)
        now += draw.expovariate(served.rate) if served.arrivals == "poisson" else 1.0 / served.rate
    return seconds
