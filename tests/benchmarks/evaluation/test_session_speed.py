"""Speed is claimed of sessions, not of queries."""

from __future__ import annotations

import math

import pytest

from benchmarks.evaluation.changes import SystemSessions, change_of
from benchmarks.evaluation.session_speed import SessionTimes, SpeedChange, compare_speed


def session(place: int, factor: float, load: float = 0.5) -> SessionTimes:
    """One that began at minute `place`, `factor` times as slow as queries of 1, 2 and 3 seconds."""
    started_at = f"2025-03-01T10:{place:02d}:00.000+00:00"
    return SessionTimes(started_at, {f"q{q}": q * factor for q in (1, 2, 3)}, load)


def compared(before: list[float], after: list[float]) -> SpeedChange:
    """Sessions in turn, by their factors."""
    sides = (
        [session(2 * i, f) for i, f in enumerate(before)],
        [session(2 * i + 1, f) for i, f in enumerate(after)],
    )
    change = compare_speed(*sides)
    assert change is not None
    return change


def test_a_slow_down_that_every_pair_of_sessions_shows_is_claimed_with_its_interval() -> None:
    change = compared([1.00, 1.02, 0.99], [1.20, 1.21, 1.20])
    assert change.verdict == "slower"
    assert change.ratio == pytest.approx((1.20 * 1.21 * 1.20 / (1.00 * 1.02 * 0.99)) ** (1 / 3))
    assert change.low is not None
    assert change.high is not None
    assert 1 < change.low < change.ratio < change.high
    assert compared([1.20, 1.21, 1.20], [1.00, 1.02, 0.99]).verdict == "faster"


def test_what_sessions_of_unchanged_code_differ_by_is_not_claimed() -> None:
    change = compared([1.0, 1.3, 0.9, 1.1], [1.2, 1.0, 1.3, 1.3])
    assert change.verdict == "untold"
    assert "unchanged code" in change.reason
    assert change.is_measurable
    assert change.noise_floor is not None
    assert change.noise_floor > change.ratio - 1


def test_one_session_of_each_tells_nothing_however_many_queries_it_has() -> None:
    change = compared([1.0], [2.0])
    assert (change.verdict, change.low, change.is_measurable) == ("untold", None, False)
    assert change.ratio == pytest.approx(2.0)


def test_sessions_that_were_not_measured_in_turn_tell_nothing() -> None:
    before = [session(i, 1.0 + i / 100) for i in range(4)]
    after = [session(10 + i, 1.5 + i / 100) for i in range(4)]
    change = compare_speed(before, after)
    assert change is not None
    assert (change.verdict, change.is_measurable) == ("untold", False)
    assert "in turn" in change.reason


def test_the_order_within_a_pair_is_free() -> None:
    before = [session(place, 1.0 + place / 1000) for place in (0, 3, 4)]
    after = [session(place, 1.3) for place in (1, 2, 5)]
    change = compare_speed(before, after)
    assert change is not None
    assert change.verdict == "slower"


def test_a_change_below_five_per_cent_is_not_claimed_however_sure_it_is() -> None:
    change = compared([1.0, 1.0001, 1.0], [1.04, 1.04, 1.0401])
    assert change.verdict == "untold"
    assert "below 5 %" in change.reason


def test_a_machine_that_was_busier_while_it_was_slower_explains_the_difference() -> None:
    before = [session(2 * i, 1.0 + i / 1000, load=0.4) for i in range(3)]
    after = [session(2 * i + 1, 5.0, load=3.9) for i in range(3)]
    change = compare_speed(before, after)
    assert change is not None
    assert change.verdict == "untold"
    assert "load 3.9 a thread against 0.4" in change.reason
    quiet = [session(2 * i + 1, 5.0, load=0.1) for i in range(3)]
    claimed = compare_speed(before, quiet)
    assert claimed is not None
    assert claimed.verdict == "slower"


def test_a_pair_is_compared_query_by_query() -> None:
    """One side without the long queries is not faster for it."""
    before, after = [], []
    for i in range(3):
        first, other = session(2 * i, 1.0 + i / 1000), session(2 * i + 1, 1.0)
        before.append(first)
        after.append(SessionTimes(other.started_at, {"q1": other.seconds["q1"]}, other.load))
    change = compare_speed(before, after)
    assert change is not None
    assert change.ratio == pytest.approx(math.exp(-(math.log(1.0) + math.log(1.001) + math.log(1.002)) / 3))


def test_quality_falls_by_more_than_sessions_differ_or_it_did_not_fall() -> None:
    def side(*means: float) -> SystemSessions:
        return SystemSessions([{"q": mean, "r": mean} for mean in means], [], frozenset())

    same = change_of(side(0.50), side(0.50)).quality
    worse = change_of(side(0.50), side(0.48)).quality
    noisy = change_of(side(0.55, 0.45, 0.50), side(0.43, 0.53, 0.48)).quality
    for quality in (same, worse, noisy):
        assert quality is not None
    assert same is not None
    assert same.is_same
    assert not same.is_worse(0.0)
    assert worse is not None
    assert (worse.is_worse(0.01), worse.is_worse(0.03)) == (True, False)
    assert noisy is not None
    assert noisy.difference == pytest.approx(-0.02)
    assert noisy.noise > 0.02
    assert not noisy.is_worse(0.01)
