"""The stage clock charges exactly the time between two synchronised readings."""

from __future__ import annotations

import pytest

from rerankers import StageClock
from rerankers.interface import Cost


def _clock(readings: list[float], events: list[str] | None = None) -> StageClock:
    left = iter(readings)
    log = events if events is not None else []

    def now() -> float:
        log.append("read")
        return next(left)

    return StageClock(now=now, synchronise=lambda: log.append("synchronise"))


def test_a_stage_costs_the_difference_of_two_readings() -> None:
    cost = Cost()
    with _clock([10.0, 12.5]).stage("embed", cost):
        pass
    assert cost.stage_seconds == {"embed": 12.5 - 10.0}


def test_entering_a_stage_again_adds_to_it() -> None:
    cost, clock = Cost(), _clock([0.0, 1.0, 5.0, 7.0])
    for _ in range(2):
        with clock.stage("decode", cost):
            pass
    assert cost.stage_seconds == {"decode": 1.0 + 2.0}


def test_a_batch_shares_its_time_evenly() -> None:
    costs = [Cost(), Cost(), Cost()]
    with _clock([0.0, 6.0]).stage("forward", *costs):
        pass
    assert [cost.stage_seconds for cost in costs] == [{"forward": 6.0 / 3}] * 3


def test_a_second_of_one_of_two_threads_is_half_a_second() -> None:
    cost = Cost()
    with _clock([0.0, 6.0]).for_one_of(2).stage("forward", cost):
        pass
    assert cost.stage_seconds == {"forward": 3.0}


def test_the_device_is_idle_before_every_reading() -> None:
    events: list[str] = []
    with _clock([0.0, 1.0], events).stage("prefill", Cost()):
        events.append("work")
    assert events == ["synchronise", "read", "work", "synchronise", "read"]


def test_a_stage_that_raises_is_not_charged() -> None:
    cost = Cost()
    with pytest.raises(ValueError, match="no"), _clock([0.0, 1.0]).stage("parse", cost):
        raise ValueError("no")
    assert cost.stage_seconds == {}
