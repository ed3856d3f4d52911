"""Sentences on systems that two result folders hold: how quality and speed changed between them.

Two folders are one session of each side, from which no change of speed can be told: sessions of unchanged
code differ by more than queries do. `rerankbench compare` compares repeated sessions, by the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.evaluation.changes import SystemSessions, change_of
from benchmarks.evaluation.session_speed import SessionTimes
from reports.formats.numbers import p_value, signed, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.evaluation.changes import Change
    from reports.analysis.values import Sentence, SystemResult

ALPHA = 0.05  # of the test of quality


def changes(systems: Sequence[SystemResult], measure: str) -> tuple[list[Sentence], list[Sentence]]:
    """Return a sentence for every reranker that several folders measured, the first folder against the last.

    Args:
        systems: the systems of one group, in the order of their folders.
        measure: the group's headline measure.

    Returns:
        the sentences on systems that became significantly worse or slower; and those on the others.
    """
    by_name: dict[str, list[SystemResult]] = {}
    for system in systems:
        if system.status == "done" and system.role == "reranker":
            by_name.setdefault(system.name, []).append(system)
    regressions: list[Sentence] = []
    others: list[Sentence] = []
    for name, same in by_name.items():
        before, after = same[0], same[-1]
        if before.provenance.folder != after.provenance.folder:
            change = change_of(_session(before, measure), _session(after, measure))
            all_changes = {
                "quality": _quality(measure, change),
                "speed": _speed(before, after, change),
                "code": _code(before, after),
            }
            words = (
                ", ".join(part.words for part in all_changes.values() if part.words) or "nothing to compare"
            )
            worse = [what for what, part in all_changes.items() if part.is_regression]
            verb = f" regressed in {' and '.join(worse)}" if worse else ""
            sentence = (
                "",
                name,
                f"{verb} from {before.provenance.folder} to {after.provenance.folder}: {words}.",
            )
            (regressions if worse else others).append(sentence)
    return regressions, others


def _session(system: SystemResult, measure: str) -> SystemSessions:
    """Return a system of one folder as the single session of a side of a comparison."""
    is_timed = system.timing.latency is not None
    per_query = system.quality.per_query.get(measure)
    seconds = SessionTimes(
        started_at=system.provenance.started_at,
        seconds=system.timing.query_seconds,
        load=system.timing.load,
        control_noise=system.timing.noise,
    )
    return SystemSessions(
        measured=[per_query] if per_query is not None else [],
        times=[seconds] if is_timed else [],
        hardware=frozenset(system.provenance.hardware),
    )


class _Part(NamedTuple):
    """A part of a sentence about a change, "" for none, and whether the change is a regression."""

    words: str = ""
    is_regression: bool = False


def _quality(measure: str, change: Change) -> _Part:
    """Return the words about a change of the measure; a significant fall is a regression."""
    quality = change.quality
    if quality is None:
        return _Part()
    if quality.is_same:
        return _Part(f"the same {measure} on every query")
    verdict = f"{'significant' if quality.p_value < ALPHA else 'not significant'}, {p_value(quality.p_value)}"
    words = f"{signed(quality.difference)} {measure} ({verdict})"
    return _Part(words, quality.difference < 0 and quality.p_value < ALPHA)


def _speed(before: SystemResult, after: SystemResult, change: Change) -> _Part:
    """Return the words about a change of speed between two systems."""
    if change.differing_hardware:
        return _Part("speed not compared, the hardware differs")
    if change.speed is None:
        return _Part()
    ratio = change.speed.ratio
    size = f"{times(ratio)} times slower" if ratio > 1 else f"{times(1 / ratio)} times faster"
    if change.speed.verdict != "untold":
        return _Part(size, change.speed.verdict == "slower")
    loads = [system.timing.load for system in (before, after)]
    at_loads = "" if None in loads else f", at load {loads[0]:.1f} and {loads[1]:.1f} a thread"
    return _Part(f"{size} in one session of each{at_loads}, which cannot be told apart here")


def _code(before: SystemResult, after: SystemResult) -> _Part:
    """Return the words about a change of the code of a reranker of the user's own; "" if it is the same."""
    old, new = (one.provenance.described.get("code") for one in (before, after))
    return _Part(f"its code changed from {old} to {new}") if old and new and old != new else _Part()
