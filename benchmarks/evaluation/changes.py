"""What changed between two sides of a comparison: quality and speed of each system.

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
    """One system on one side of a comparison.

    Attributes:
        measured: quality by query id, for each session; empty where nothing is judged.
        times: of each session; empty where nothing was timed.
        hardware: one line for each kind of machine.
    """

    measured: Sequence[Mapping[str, float]]
    times: Sequence[SessionTimes]
    hardware: frozenset[str]


@dataclass(frozen=True, slots=True)
class QualityChange:
    """The change of a measure, as the mean over the judged queries.

    Attributes:
        noise: what means of unchanged code may differ by, from one session to another; 0.0 where all
            sessions of a side rank alike.
        p_value: of the paired t-test over queries: whether other queries would change likewise.
        is_same: whether no query's value changed.
    """

    before: float
    after: float
    noise: float
    p_value: float
    is_same: bool

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before

    def is_worse(self, threshold: float) -> bool:
        """Return whether it fell by more than a threshold, and by more than sessions differ."""
        return -self.difference > max(threshold, self.noise)


@dataclass(frozen=True, slots=True)
class Change:
    """The changes of one system between two folders.

    Attributes:
        quality: None where nothing is judged.
        speed: None where nothing was timed on both sides, or the hardware differs.
        differing_hardware: whether it does.
    """

    quality: QualityChange | None
    speed: SpeedChange | None
    differing_hardware: bool = False


def change_of(before: SystemSessions, after: SystemSessions) -> Change:
    """Compare a system's sessions before a change with those after it."""
    differs = bool(before.times and after.times) and before.hardware != after.hardware
    speed = None if differs else compare_speed(before.times, after.times)
    return Change(_quality(before.measured, after.measured), speed, differs)


def _quality(
    before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]
) -> QualityChange | None:
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
    """Return each query's mean over sessions."""
    return {query_id: fmean(by[query_id] for by in sessions if query_id in by) for query_id in sessions[0]}


def _noise(before: Sequence[float], after: Sequence[float]) -> float:
    """Return half the 99 % interval of the difference of two means by Welch's t; 0.0 for single sessions."""
    parts = [stdev(side) ** 2 / len(side) if len(side) > 1 else 0.0 for side in (before, after)]
    variance = sum(parts)
    if not variance:
        return 0.0
    from scipy.special import stdtrit  # all of scipy.stats takes seconds to import

    squares = [
        part**2 / (len(side) - 1) for part, side in zip(parts, (before, after), strict=True) if len(side) > 1
    ]
    return float(stdtrit(variance**2 / sum(squares), 1.0 - LEVEL)) * math.sqrt(variance)
