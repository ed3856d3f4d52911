"""The same system in two result folders: what changed in quality and speed, with a test for each."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.statistics import paired_t_test
from reports.numbers import p_value, signed, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.values import Sentence, SystemResult


def changes(systems: Sequence[SystemResult], measure: str) -> tuple[Sentence, ...]:
    """A sentence for every system that several folders measured, the first folder against the last.

    Args:
        systems: of one group, in the order of their folders.
        measure: the group's headline.
    """
    by_name: dict[str, list[SystemResult]] = {}
    for system in systems:
        if system.status == "done":
            by_name.setdefault(system.name, []).append(system)
    found: list[Sentence] = []
    for name, same in by_name.items():
        before, after = same[0], same[-1]
        if before.folder != after.folder:
            said = ", ".join(filter(None, [_quality(measure, before, after), _speed(before, after)]))
            found.append(
                ("", name, f" in {after.folder} against {before.folder}: {said or 'nothing to compare'}.")
            )
    return tuple(found)


def _quality(measure: str, before: SystemResult, after: SystemResult) -> str:
    if measure not in before.per_query or measure not in after.per_query:
        return ""
    old, new = (list(one.per_query[measure].values()) for one in (before, after))
    if old == new:
        return f"the same {measure} on every query"
    return f"{signed(fmean(new) - fmean(old))} {measure} ({_verdict(paired_t_test(new, old))})"


def _speed(before: SystemResult, after: SystemResult) -> str:
    """In words, where both were measured, and on the same hardware."""
    if before.role != "reranker" or not before.latency or not after.latency:
        return ""
    if before.hardware != after.hardware:
        return "speed not compared, the hardware differs"
    shared = [query_id for query_id in before.query_seconds if query_id in after.query_seconds]
    p = paired_t_test([after.query_seconds[q] for q in shared], [before.query_seconds[q] for q in shared])
    ratio = after.latency.p50.value / before.latency.p50.value
    direction = f"{times(ratio)} times slower" if ratio > 1 else f"{times(1 / ratio)} times faster"
    return f"{direction} by p50 ({_verdict(p)})"


def _verdict(p: float) -> str:
    return f"{'significant' if p < 0.05 else 'not significant'}, {p_value(p)}"
