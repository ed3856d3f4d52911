"""The same system in two result folders: what changed in quality and speed, with a test for each."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.evaluation.statistics import paired_t_test
from reports.formats.numbers import p_value, signed, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.values import Sentence, SystemResult

ALPHA = 0.05  # of each test alone


def changes(systems: Sequence[SystemResult], measure: str) -> tuple[list[Sentence], list[Sentence]]:
    """Return a sentence for every reranker that several folders measured, the first folder against the last.

    Args:
        systems: of one group, in the order of their folders.
        measure: the group's headline.

    Returns:
        those that became significantly worse or slower, and the others.
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
            found = [_quality(measure, before, after), _speed(before, after), _code(before, after)]
            said = ", ".join(change.words for change in found if change.words) or "nothing to compare"
            worse = [
                what
                for what, change in zip(("quality", "speed"), found, strict=False)
                if change.is_regression
            ]
            verb = f" regressed in {' and '.join(worse)}" if worse else ""
            sentence = (
                "",
                name,
                f"{verb} from {before.provenance.folder} to {after.provenance.folder}: {said}.",
            )
            (regressions if worse else others).append(sentence)
    return regressions, others


class _Change(NamedTuple):
    words: str = ""
    is_regression: bool = False


def _quality(measure: str, before: SystemResult, after: SystemResult) -> _Change:
    if measure not in before.quality.per_query or measure not in after.quality.per_query:
        return _Change()
    old, new = (list(one.quality.per_query[measure].values()) for one in (before, after))
    if old == new:
        return _Change(f"the same {measure} on every query")
    difference, p = fmean(new) - fmean(old), paired_t_test(new, old)
    return _Change(f"{signed(difference)} {measure} ({_verdict(p)})", difference < 0 and p < ALPHA)


def _speed(before: SystemResult, after: SystemResult) -> _Change:
    """Return where both were measured, and on the same hardware."""
    if not before.timing.latency or not after.timing.latency:
        return _Change()
    if before.provenance.hardware != after.provenance.hardware:
        return _Change("speed not compared, the hardware differs")
    shared = [query_id for query_id in before.timing.query_seconds if query_id in after.timing.query_seconds]
    p = paired_t_test(
        [after.timing.query_seconds[q] for q in shared], [before.timing.query_seconds[q] for q in shared]
    )
    ratio = after.timing.latency.p50.value / before.timing.latency.p50.value
    direction = f"{times(ratio)} times slower" if ratio > 1 else f"{times(1 / ratio)} times faster"
    return _Change(f"{direction} by p50 ({_verdict(p)})", ratio > 1 and p < ALPHA)


def _code(before: SystemResult, after: SystemResult) -> _Change:
    """Return whether a reranker of the user's own is the same code in both folders."""
    old, new = (one.provenance.described.get("code") for one in (before, after))
    return _Change(f"its code changed from {old} to {new}") if old and new and old != new else _Change()


def _verdict(p: float) -> str:
    return f"{'significant' if p < ALPHA else 'not significant'}, {p_value(p)}"
