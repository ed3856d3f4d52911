"""Comparison of the speed of a system before and after a change of the code, by sessions.

A session is one process that measured a system. Sessions of unchanged code differ by more than the queries
within one of them do: memory lands elsewhere, the machine runs at another clock, and other programs use it. A
test over queries therefore calls most pairs of sessions different. Here the session is the unit (Kalibera and
Jones, "Rigorous benchmarking in reasonable time", ISMM 2013): each pair of sessions that were measured next
to each other gives one ratio, and the ratios are tested.

A pair's ratio is taken twice. Once from all calls: the median over queries of the query's own ratio. And once
from the calls that nothing disturbed: other programs only ever add time, so a session's quick calls, each
relative to the quickest of its query in any session, vary a third as much on a busy machine. Each is tested
at half the level, and the one that varies less is reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEVEL = 0.005
"""Of each one-sided test, of two: a comparison of twenty systems has one false alarm in five runs at most."""
QUICK = 0.1
"""Share of a session's calls that count as undisturbed."""
MINIMUM_EFFECT = 0.05
"""The smallest change of speed that is claimed: what differs less, differs by where memory lands."""
FEWEST_PAIRS = 3
BUSIER = 0.5
"""Difference in load per thread from which the load may explain that a system is slower."""

Verdict = Literal["slower", "faster", "untold"]


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """The latencies of one system in one session.

    Attributes:
        started_at: start of the session, ISO 8601, UTC.
        seconds: median latency over repeats, by query id.
        load: mean load average over the threads that the process may use; None where it was not recorded.
        control_noise: p95 over median, less one, of the identity control; None where there are too few calls.
        quickest: least latency over repeats, by query id; None where there is one repeat.
    """

    started_at: str
    seconds: Mapping[str, float]
    load: float | None = None
    control_noise: float | None = None
    quickest: Mapping[str, float] | None = None

    @property
    def undisturbed(self) -> Mapping[str, float]:
        """Seconds by query id to which other programs added least: the quickest, or else the median."""
        return self.quickest or self.seconds


@dataclass(frozen=True, slots=True)
class SpeedChange:
    """The change of a system's latency, as a ratio.

    Attributes:
        ratio: seconds after over seconds before, averaged over queries and pairs of sessions.
        low: lower end of the ratio's 99 % interval over pairs of sessions; None with fewer than two pairs.
        high: upper end of the same interval.
        pairs: number of pairs of sessions.
        verdict: `untold` where a difference cannot be told from run-to-run variation, or is too small.
        reason: why the verdict is `untold`; "" for the others.
        is_measurable: whether there were enough sessions, measured in turn, for any verdict.
    """

    ratio: float
    low: float | None
    high: float | None
    pairs: int
    verdict: Verdict
    reason: str = ""
    is_measurable: bool = True

    @property
    def noise_floor(self) -> float | None:
        """The smallest slow-down that these sessions would have shown, 0.05 for 5 %; None for none."""
        if self.low is None or not self.is_measurable:
            return None
        return max(MINIMUM_EFFECT, self.ratio / self.low - 1.0)

    @property
    def spread(self) -> float:
        """The width of the interval: the ratio over its lower end; infinite without an interval."""
        return math.inf if self.low is None else self.ratio / self.low

    def untold(self, reason: str, is_measurable: bool = True) -> SpeedChange:
        """Return a copy with the verdict `untold` and the given reason."""
        return replace(self, verdict="untold", reason=reason, is_measurable=is_measurable)


def compare_speed(
    before: Sequence[SessionTimes], after: Sequence[SessionTimes], *, minimum_effect: float = MINIMUM_EFFECT
) -> SpeedChange | None:
    """Compare sessions before a change with sessions after it; return None where no query was timed in both.

    The n-th session before, by its start, makes a pair with the n-th after. A change is claimed where one of
    two one-sided t-tests over the logarithms of the pairs' ratios is significant at level 0.005, the ratio is
    beyond the minimum effect, there are three pairs or more, sessions were measured in turn, and the slower
    side's machine was not the busier one.

    Args:
        before: sessions before the change.
        after: sessions after it.
        minimum_effect: smallest change that is claimed, 0.05 for 5 %.
    """
    changes = [
        _tested(logs, minimum_effect)
        for logs in (_typical_logs(before, after), _undisturbed_logs(before, after))
        if logs
    ]
    if not changes:
        return None
    claimed = [change for change in changes if change.verdict != "untold"]
    change = min(claimed or changes, key=lambda one: one.spread)
    if len(before) != len(after) or change.pairs < FEWEST_PAIRS or change.low is None:
        counts = f"{len(before)} and {len(after)}"
        return change.untold(f"{FEWEST_PAIRS} sessions of each are needed, and there are {counts}", False)
    if not are_in_turn(before, after):
        return change.untold("the sessions were not measured in turn", False)
    slower, other = (after, before) if change.ratio > 1 else (before, after)
    if change.verdict != "untold" and _load(slower) - _load(other) > BUSIER:
        loads = f"load {_load(slower):.2g} a thread against {_load(other):.2g}"
        return change.untold(f"the machine was busier while it was slower ({loads})")
    return change


def _tested(logs: Sequence[float], minimum_effect: float) -> SpeedChange:
    """Return the ratio, its interval and a verdict, from the logarithm of each pair's ratio.

    Only the ratios are tested here: neither the number of sessions, nor their order, nor the load counts.
    """
    centre, margin = fmean(logs), _margin(logs)
    if margin is None:
        return SpeedChange(math.exp(centre), None, None, len(logs), "untold")
    change = SpeedChange(
        math.exp(centre), math.exp(centre - margin), math.exp(centre + margin), len(logs), "untold"
    )
    if abs(centre) <= margin:
        return change.untold("sessions of unchanged code may differ as much")
    if abs(centre) < math.log1p(minimum_effect):
        return change.untold(f"the difference is below {100 * minimum_effect:.0f} %")
    return replace(change, verdict="slower" if centre > 0 else "faster")


def are_in_turn(before: Sequence[SessionTimes], after: Sequence[SessionTimes]) -> bool:
    """Return whether both sessions of each pair began before any session of the next pair."""
    pairs = zip(_by_start(before), _by_start(after), strict=False)
    starts = [sorted((one.started_at, other.started_at)) for one, other in pairs]
    return all(last < first for (_, last), (first, _) in pairwise(starts))


def _by_start(sessions: Sequence[SessionTimes]) -> list[SessionTimes]:
    """Return sessions in the order of their start."""
    return sorted(sessions, key=lambda session: session.started_at)


def _typical_logs(before: Sequence[SessionTimes], after: Sequence[SessionTimes]) -> list[float]:
    """Return, for each pair of sessions, the log of the median over queries of seconds after over before.

    A pair without a query in common is left out.
    """
    logs = []
    for one, other in zip(_by_start(before), _by_start(after), strict=False):
        ratios = [
            math.log(other.seconds[query_id] / seconds)
            for query_id, seconds in one.seconds.items()
            if seconds > 0 and other.seconds.get(query_id, 0.0) > 0
        ]
        logs += [median(ratios)] if ratios else []
    return logs


def _undisturbed_logs(before: Sequence[SessionTimes], after: Sequence[SessionTimes]) -> list[float]:
    """Return, for each pair of sessions, the logarithm of the ratio of their quick calls.

    A session's quick calls are the 10 % quantile of its latencies, each divided by its query's least latency
    in any session. Only queries that all sessions timed count; without any, return an empty list.
    """
    sessions = [*before, *after]
    quickest = {
        query_id: min(one.undisturbed[query_id] for one in sessions)
        for query_id in (sessions[0].undisturbed if before and after else ())
        if all(one.undisturbed.get(query_id, 0.0) > 0 for one in sessions)
    }
    if not quickest:
        return []

    def quick(session: SessionTimes) -> float:
        relative = [session.undisturbed[query_id] / seconds for query_id, seconds in quickest.items()]
        return float(np.quantile(relative, QUICK))

    pairs = zip(_by_start(before), _by_start(after), strict=False)
    return [math.log(quick(other) / quick(one)) for one, other in pairs]


def _margin(logs: Sequence[float]) -> float | None:
    """Return half the 99 % interval of the values' mean by Student's t; None with fewer than two values."""
    if len(logs) < 2:
        return None
    from scipy.special import stdtrit  # all of scipy.stats takes seconds to import

    error = float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    return float(stdtrit(len(logs) - 1, 1.0 - LEVEL)) * error


def _load(sessions: Sequence[SessionTimes]) -> float:
    """Return the mean load per thread over the sessions that recorded it; 0.0 where none did."""
    loads = [session.load for session in sessions if session.load is not None]
    return fmean(loads) if loads else 0.0
