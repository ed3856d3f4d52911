"""Compares two sides for `rerankbench compare`, and says what changed in lines of text."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.evaluation.changes import SystemSessions, change_of
from benchmarks.results.sessions import read_sessions
from benchmarks.results.sides import systems_of
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.evaluation.changes import Change, QualityChange
    from benchmarks.evaluation.session_speed import SpeedChange


@dataclass(frozen=True, slots=True)
class Gates:
    """The thresholds at which a comparison fails.

    Attributes:
        slower: a claimed slow-down by more than this share; None where speed does not matter.
        worse: a fall of the headline measure by more than this; None where quality does not matter.
    """

    slower: float | None = None
    worse: float | None = None

    @property
    def are_set(self) -> bool:
        """True if anything fails at all."""
        return self.slower is not None or self.worse is not None


@dataclass(slots=True)
class Comparison:
    """The result of a comparison: its lines, and the reasons to fail.

    Attributes:
        failures: one line for each gate that a system did not pass.
    """

    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def compare(before: Path, after: Path, gates: Gates) -> Comparison:
    """Compare each system of two sides: result folders, or folders of result folders.

    Raises:
        InputError: there are no results, the sides share no system, or a gate cannot be judged, because there
            are too few sessions, they were not measured in turn, or the hardware differs.
        StoreError: a result is damaged.
    """
    old, new = systems_of(read_sessions(before)), systems_of(read_sessions(after))
    if not old.keys() & new.keys():
        raise InputError(
            f"{before} and {after}: no system was measured on the same candidates in both. Run one "
            "experiment into both"
        )
    found = Comparison()
    for key, sessions in old.items():
        found.lines.append(str(key))
        if key not in new:
            found.lines.append(f"  not in {after}, where it failed, has another name, or other candidates")
            found.failures += [f"{key}: not measured in {after}"] if gates.are_set else []
            continue
        change = change_of(sessions, new[key])
        found.lines += [f"  {line}" for line in _described(key.measure, sessions, new[key], change)]
        found.failures += [f"{key}: {reason}" for reason in _failed(change, gates, key.measure)]
        if gates.slower is not None and sessions.times:
            _check_measurable(str(key), change)
    found.lines += [f"{key}\n  only in {after}" for key in new if key not in old]
    return found


def _failed(change: Change, gates: Gates, measure: str) -> Iterator[str]:
    speed, quality = change.speed, change.quality
    if gates.slower is not None and speed and speed.verdict == "slower" and speed.ratio - 1 > gates.slower:
        yield f"{_percent(speed.ratio - 1)} slower, and {_percent(gates.slower)} are allowed"
    if gates.worse is not None and quality and quality.is_worse(gates.worse):
        yield f"{measure} fell by {-quality.difference:.4f}, and {gates.worse:g} is allowed"


def _check_measurable(name: str, change: Change) -> None:
    reason = "the hardware differs" if change.differing_hardware else "no query was timed on both sides"
    if change.speed is not None and change.speed.is_measurable:
        return
    if change.speed is not None:
        reason = change.speed.reason
    raise InputError(
        f"{name}: --fail-if-slower cannot be judged: {reason}. Measure before and after in turn, each three "
        "times or more, on one machine, into BEFORE/1, AFTER/1, BEFORE/2, AFTER/2 and so on"
    )


def _described(measure: str, before: SystemSessions, after: SystemSessions, change: Change) -> Iterator[str]:
    if change.quality is not None:
        yield f"{measure:8} {_quality_words(change.quality)}"
    if change.differing_hardware:
        yield "speed    not compared: the hardware differs"
    elif change.speed is not None:
        yield f"speed    {speed_words(change.speed)}"
        yield f"machine  {_machine_words(before)} before; {_machine_words(after)} after"


def _quality_words(quality: QualityChange) -> str:
    if quality.is_same:
        return f"{quality.after:.4f}, the same on every query"
    noise = f", sessions differ by up to {quality.noise:.4f}" if quality.noise else ""
    return (
        f"{quality.before:.4f} to {quality.after:.4f}, {quality.difference:+.4f} "
        f"(paired t-test over queries p = {quality.p_value:.3f}{noise})"
    )


def speed_words(speed: SpeedChange) -> str:
    """Return a change of speed in words, with what it rests on."""
    ratio = speed.ratio
    size = f"{ratio:.2f} times slower" if ratio >= 1 else f"{1 / ratio:.2f} times faster"
    said = (
        size if speed.verdict != "untold" else f"cannot be told apart here: {speed.reason}; measured {size}"
    )
    pairs = f"{speed.pairs} pair{'s' * (speed.pairs != 1)} of sessions"
    if speed.low is None or speed.high is None:
        return f"{said} ({pairs})"
    floor = speed.noise_floor
    noise = "" if floor is None else f", noise floor {_percent(floor)}"
    return f"{said} (ratio {speed.low:.2f} to {speed.high:.2f} at 99 %, {pairs}{noise})"


def _machine_words(sessions: SystemSessions) -> str:
    loads = [one.load for one in sessions.times if one.load is not None]
    noises = [one.control_noise for one in sessions.times if one.control_noise is not None]
    words = [f"load {fmean(loads):.2f} a thread (largest {max(loads):.2f})"] if loads else []
    words += [f"control noise {_percent(fmean(noises))}"] if noises else []
    return ", ".join(words) or "no load recorded"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
