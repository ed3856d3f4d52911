"""The changes of a system's quality and speed from one side of a comparison to the other.

Both sides hold sessions of the same experiment, such as one before a change of the code and one after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from benchmarks.evaluation.session_speed import LEVEL, compare_speed
from benchmarks.evaluation.statistics import paired_t_test

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.evaluation.session_speed import SessionTimes, SpeedChange


@dataclass(frozen=True, slots=True)
class SystemSessions:
    """The sessions of one system on one side of a comparison.

    Attributes:
        measured: for each session, the measure's value by query id; empty where no query is judged.
        times: the latencies of each session; empty where no session was timed.
        hardware: one line for each kind of machine that a session ran on.
    """

    measured: Sequence[Mapping[str, float]]
    times: Sequence[SessionTimes]
    hardware: frozenset[str]


@dataclass(frozen=True, slots=True)
class QualityChange:
    """The change of one measure from one side of a comparison to the other.

    Attributes:
        before: mean of the measure over the queries that both sides have, before the change.
        after: the same mean after the change.
        noise: largest difference of these means that sessions of unchanged code are expected to show; 0.0
            where all sessions of a side rank alike.
        p_value: p-value of the two-sided paired t-test over queries.
        is_same: whether no query's value changed.
    """

    before: float
    after: float
    noise: float
    p_value: float
    is_same: bool

    @property
    def difference(self) -> float:
        """The mean after the change minus the mean before it."""
        return self.after - self.before

    def is_worse(self, threshold: float) -> bool:
        """Return whether the mean fell by more than `threshold` and by more than `noise`."""
        return -self.difference > max(threshold, self.noise)


@dataclass(frozen=True, slots=True)
class Change:
    """The changes of one system from one side of a comparison to the other.

    Attributes:
        quality: the change of the measure; None where the two sides share no judged query.
        speed: the change of the latency; None where a side was not timed, or the hardware differs.
        differing_hardware: whether both sides were timed, on different hardware.
    """

    quality: QualityChange | None
    speed: SpeedChange | None
    differing_hardware: bool = False


def change_of(before: SystemSessions, after: SystemSessions) -> Change:
    """Compare a system's sessions before a change with those after it, in quality and in speed."""
    differs = bool(before.times and after.times) and before.hardware != after.hardware
    speed = None if differs else compare_speed(before.times, after.times)
    return Change(_quality(before.measured, after.measured), speed, differs)


def _quality(
    before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]
) -> QualityChange | None:
    """Return the change of the mean over shared queries, from each session's value by query id.

    Return None where a side has no sessions, or the sides share no query.
    """
    if not before or not after:
        return None
    old, new = _by_query(before), _by_query(after)
    shared = [query_id for query_id in old if query_id in new]
    if not shared:
        return None
    earlier, later = [old[query_id] for query_id in shared], [new[query_id] for query_id in shared]
    return QualityChange(
        before=fmean(earlier),
        after=fmean(later),
        noise=_noise([fmean(by.values()) for by in before], [fmean(by.values()) for by in after]),
        p_value=paired_t_test(later, earlier),
        is_same=earlier == later,
    )


def _by_query(sessions: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean value over sessions by query id, for the queries of the first session."""
    return {query_id: fmean(by[query_id] for by in sessions if query_id in by) for query_id in sessions[0]}


def _noise(before: Sequence[float], after: Sequence[float]) -> float:
    """Return half the 99 % interval of the difference of the two sides' means, by Welch's t.

    Each side is a list of session means. Return 0.0 where sessions do not differ, or each side has only one.
    """
    parts = [stdev(side) ** 2 / len(side) if len(side) > 1 else 0.0 for side in (before, after)]
    variance = sum(parts)
    if not variance:
        return 0.0
    from scipy.special import stdtrit  # all of scipy.stats takes seconds to import

    squares = [
        part**2 / (len(side) - 1) for part, side in zip(parts, (before, after), strict=True) if len(side) > 1
    ]
    return float(stdtrit(variance**2 / sum(squares), 1.0 - LEVEL)) * math.sqrt(variance)
