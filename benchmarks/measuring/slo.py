"""A search for the highest load that keeps an SLO, as in the server scenario of MLPerf Inference.

The scenario (Reddi et al., "MLPerf Inference Benchmark", ISCA 2020, section III) counts the Poisson arrivals
a second that a system serves while a percentile of latency stays below a bound. MLPerf leaves the search to
the submitter. Here it begins with a single client, whose requests never wait. Its answers a second are the
first rate; a rate is doubled while the SLO is kept and halved until it is, and then the interval between the
highest rate kept and the lowest rate missed is halved, by ratio, until they are within 10 %.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.results.record import requests_per_second

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.results.record import QueryRow, Slo

PRECISION = 1.1
"""Ratio of the lowest rate that misses the SLO and the highest that keeps it, at which a search ends."""
MOST_RATES = 16
LOWEST_SHARE = 1 / 64
"""Of the first rate: an SLO that is missed even there is kept by no load."""
WAITING_SHARE = 0.1
"""Of the requests, those that may wait when the last one arrives."""
TAIL = 10
"""Requests that should lie beyond the percentile, so that it is not the luck of a few."""


class Tried(NamedTuple):
    """The outcome of one load of a search.

    Attributes:
        seconds: the SLO's percentile of latency, waiting included.
        is_kept: whether it is below the bound, and the system keeps up with the arrivals.
    """

    seconds: float
    is_kept: bool

    @classmethod
    def of(cls, rows: Sequence[QueryRow], slo: Slo) -> Tried:
        """Compute the outcome of a load from the rows of its requests and the SLO."""
        seconds = float(np.quantile([row.total_seconds for row in rows], slo.percentile / 100))
        return cls(seconds, seconds < slo.seconds and keeps_up(rows))


def keeps_up(rows: Sequence[QueryRow]) -> bool:
    """Return whether few requests still wait when the last request of their run arrives: a tenth, and one.

    Beyond a system's capacity the queue grows for as long as requests arrive. Where few do, their latency may
    be within bounds all the same, which says nothing of a load that lasts. At a load of r times the capacity,
    1 - 1/r of the requests still wait at the end.
    """
    last: dict[tuple[int, int], float] = {}
    for row in rows:
        run = row.session, row.repeat
        last[run] = max(last.get(run, 0.0), row.arrived_seconds or 0.0)
    waiting = sum(
        (row.arrived_seconds or 0.0) + (row.queued_seconds or 0.0) > last[row.session, row.repeat]
        for row in rows
    )
    return waiting <= len(last) + WAITING_SHARE * len(rows)


def capacity_of(rows: Sequence[QueryRow]) -> float:
    """Return the answers a second that a single client got, the first rate of a search, from its rows."""
    return rounded(requests_per_second(rows) or 1.0)


def next_rate(first: float, tried: Mapping[float, Tried]) -> float | None:
    """Return the rate, in requests a second, to try next; None where the search is over.

    Args:
        first: the rate to begin with.
        tried: the outcomes so far, by rate.
    """
    if not tried:
        return first
    if len(tried) >= MOST_RATES:
        return None
    missed = min((rate for rate, one in tried.items() if not one.is_kept), default=math.inf)
    kept = max((rate for rate, one in tried.items() if one.is_kept and rate < missed), default=0.0)
    if not kept:
        lower = rounded(missed / 2)
        return lower if lower >= first * LOWEST_SHARE else None
    if missed == math.inf:
        return rounded(2 * kept)
    middle = rounded(math.sqrt(kept * missed))
    return middle if missed / kept > PRECISION and kept < middle < missed else None


def highest_kept(tried: Mapping[float, Tried]) -> tuple[float | None, float | None]:
    """Return (highest rate that keeps the SLO, lowest rate that misses it); None for either without one.

    Rates above the lowest missed one do not count as kept.
    """
    missed = min((rate for rate, one in tried.items() if not one.is_kept), default=None)
    kept = [rate for rate, one in tried.items() if one.is_kept and (missed is None or rate < missed)]
    return max(kept, default=None), missed


def is_few(count: int, slo: Slo) -> bool:
    """Return whether fewer than ten of `count` requests are expected beyond the SLO's percentile."""
    return count * (1 - slo.percentile / 100) < TAIL


def rounded(rate: float) -> float:
    """Round a rate to three digits, so that a resumed search finds the cells that it has measured."""
    return float(f"{rate:.3g}")
