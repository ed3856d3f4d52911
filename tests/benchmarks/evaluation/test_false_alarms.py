"""How often a comparison of sessions is wrong, on sessions that were recorded on a busy machine."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from benchmarks.evaluation.session_speed import SessionTimes, SpeedChange, compare_speed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Recorded = dict[str, list[list[float]]]

ROUNDS = 60
PAIRS = 15


@pytest.fixture(scope="module")
def recorded(golden: Path) -> Recorded:
    """Read rounds of three processes that ran in turn: unchanged, unchanged, and a fifth slower."""
    sessions: Recorded = json.loads((golden / "sessions" / "overlap.json").read_text())
    assert len(sessions["first"]) == ROUNDS
    return sessions


def compared(before: Sequence[list[float]], after: Sequence[list[float]]) -> SpeedChange:
    """Compare sessions that ran in turn."""
    sides = []
    for place, side in enumerate((before, after)):
        sides.append(
            [
                SessionTimes(
                    f"2025-03-01T{number:02d}:0{place}:00", {f"q{q}": t for q, t in enumerate(times)}
                )
                for number, times in enumerate(side)
            ]
        )
    change = compare_speed(*sides)
    assert change is not None
    return change


def drawn(recorded: Recorded, before: str, after: str, rng: random.Random) -> SpeedChange:
    """Compare two of a round's processes over some of the rounds."""
    places = sorted(rng.sample(range(ROUNDS), PAIRS))
    return compared([recorded[before][i] for i in places], [recorded[after][i] for i in places])


def test_twenty_runs_of_unchanged_code_under_load_give_one_false_alarm_at_most(recorded: Recorded) -> None:
    rng = random.Random(1)
    verdicts = [drawn(recorded, "first", "second", rng).verdict for _ in range(10)]
    verdicts += [drawn(recorded, "second", "first", rng).verdict for _ in range(10)]
    assert verdicts.count("slower") <= 1


def test_a_slow_down_of_a_fifth_is_found_in_nine_of_ten_comparisons_on_the_same_machine(
    recorded: Recorded,
) -> None:
    rng = random.Random(2)
    comparisons = [drawn(recorded, "second", "slowed", rng) for _ in range(10)]
    assert sum(change.verdict == "slower" and change.ratio > 1.1 for change in comparisons) >= 9


def test_the_rates_hold_over_many_draws_of_the_recorded_rounds(recorded: Recorded) -> None:
    rng = random.Random(3)
    pairs = [("first", "second"), ("second", "first"), ("second", "slowed")]
    counts = {
        pair: sum(drawn(recorded, *pair, rng).verdict == "slower" for _ in range(100)) for pair in pairs
    }
    assert counts["first", "second"] + counts["second", "first"] <= 4  # of 200
    assert counts["second", "slowed"] >= 90  # of 100
