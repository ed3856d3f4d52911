"""Compares the systems of two result folders, before and after a change, for `rerankbench compare`."""

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
        slower: largest slow-down allowed, as a share such as 0.1; None to allow any.
        worse: largest fall of the headline measure allowed; None to allow any.
    """

    slower: float | None = None
    worse: float | None = None

    @property
    def are_set(self) -> bool:
        """True if there is any threshold."""
        return self.slower is not None or self.worse is not None


@dataclass(slots=True)
class Comparison:
    """The result of a comparison: lines to print, and the failures.

    Attributes:
        failures: one line for each threshold that a system exceeds.
    """

    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def compare(before: Path, after: Path, gates: Gates) -> Comparison:
    """Compare quality and speed of each system in two result folders, or two folders of result folders.

    Raises:
        InputError: there are no results, the sides share no system, or a threshold cannot be judged, because
            there are too few sessions, they were not measured in turn, or the hardware differs.
        StoreError: a result is damaged.
    """
    old, new = systems_of(read_sessions(before)), systems_of(read_sessions(after))
    if not old.keys() & new.keys():
        raise InputError(
            f"{before} and {after}: no system was measured on the same candidates in both. Run one "
            "experiment into both"
        )
    comparison = Comparison()
    for key, sessions in old.items():
        comparison.lines.append(str(key))
        if key not in new:
            comparison.lines.append(
                f"  not in {after}, where it failed, has another name, or other candidates"
            )
            comparison.failures += [f"{key}: not measured in {after}"] if gates.are_set else []
            continue
        change = change_of(sessions, new[key])
        comparison.lines += [f"  {line}" for line in _described(key.measure, sessions, new[key], change)]
        comparison.failures += [f"{key}: {reason}" for reason in _failed(change, gates, key.measure)]
        if gates.slower is not None and sessions.times:
            _check_measurable(str(key), change)
    comparison.lines += [f"{key}\n  only in {after}" for key in new if key not in old]
    return comparison


def _failed(change: Change, gates: Gates, measure: str) -> Iterator[str]:
    """Yield a reason for each threshold that a system's change exceeds."""
    speed, quality = change.speed, change.quality
    if gates.slower is not None and speed and speed.verdict == "slower" and speed.ratio - 1 > gates.slower:
        yield f"{_percent(speed.ratio - 1)} slower, and {_percent(gates.slower)} are allowed"
    if gates.worse is not None and quality and quality.is_worse(gates.worse):
        yield f"{measure} fell by {-quality.difference:.4f}, and {gates.worse:g} is allowed"


def _check_measurable(name: str, change: Change) -> None:
    """Raise InputError if a change of speed cannot be judged from the sessions at hand."""
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
    """Yield lines on a system's change of quality, its change of speed, and the machine's load."""
    if change.quality is not None:
        yield f"{measure:8} {_quality_words(change.quality)}"
    if change.differing_hardware:
        yield "speed    not compared: the hardware differs"
    elif change.speed is not None:
        yield f"speed    {speed_words(change.speed)}"
        yield f"machine  {_machine_words(before)} before; {_machine_words(after)} after"


def _quality_words(quality: QualityChange) -> str:
    """Return a change of the headline measure in words, with p-value and noise."""
    if quality.is_same:
        return f"{quality.after:.4f}, the same on every query"
    noise = f", sessions differ by up to {quality.noise:.4f}" if quality.noise else ""
    return (
        f"{quality.before:.4f} to {quality.after:.4f}, {quality.difference:+.4f} "
        f"(paired t-test over queries p = {quality.p_value:.3f}{noise})"
    )


def speed_words(speed: SpeedChange) -> str:
    """Return a change of speed in words, with interval, number of session pairs and noise floor."""
    ratio = speed.ratio
    size = f"{ratio:.2f} times slower" if ratio >= 1 else f"{1 / ratio:.2f} times faster"
    clause = (
        size if speed.verdict != "untold" else f"cannot be told apart here: {speed.reason}; measured {size}"
    )
    pairs = f"{speed.pairs} pair{'s' * (speed.pairs != 1)} of sessions"
    if speed.low is None or speed.high is None:
        return f"{clause} ({pairs})"
    floor = speed.noise_floor
    noise = "" if floor is None else f", noise floor {_percent(floor)}"
    return f"{clause} (ratio {speed.low:.2f} to {speed.high:.2f} at 99 %, {pairs}{noise})"


def _machine_words(sessions: SystemSessions) -> str:
    """Return the mean load and control noise of the sessions in words."""
    loads = [times.load for times in sessions.times if times.load is not None]
    noises = [times.control_noise for times in sessions.times if times.control_noise is not None]
    words = [f"load {fmean(loads):.2f} a thread (largest {max(loads):.2f})"] if loads else []
    words += [f"control noise {_percent(fmean(noises))}"] if noises else []
    return ", ".join(words) or "no load recorded"


def _percent(share: float) -> str:
    """Format a share as a whole percentage, such as `10 %`."""
    return f"{100 * share:.0f} %"
