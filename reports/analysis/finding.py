"""The summary at the top of a report in plain language, computed from a group's numbers.

A sentence is a tuple of text parts, plain and emphasised by turns, plain first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.evaluation.statistics import equivalence_test
from reports.analysis import quality
from reports.formats.numbers import fixed, p_value, signed, significant, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.estimates import Comparison
    from reports.analysis.values import Group, Sentence, SystemResult

MARGIN = 0.01
"""Difference in the headline measure up to which two systems count as equivalent."""


def findings(group: Group) -> tuple[Sentence, ...]:
    """Return the summary of one group as sentences, most important first; empty without judgements."""
    measure = group.headline
    ranked = [
        system for system in group.systems if system.role != "control" and measure in system.quality.estimates
    ]
    rerankers = [system for system in ranked if system.role == "reranker"]
    if not rerankers:
        return ()
    sentences = [_best(group, ranked[0])]
    if ranked[0].role == "reranker":
        sentences += _trade_off(measure, ranked[0], rerankers)
    sentences += _worse(group, rerankers)
    sentences += [
        (
            "",
            system.label,
            f" gave faulty output for {system.work.faulty_queries} of {system.measured_queries} queries.",
        )
        for system in rerankers
        if 2 * system.work.faulty_queries > system.measured_queries
    ]
    return tuple(sentences)


def _best(group: Group, best: SystemResult) -> Sentence:
    """Return the sentence on the best system: its headline measure, and its lead over the baseline."""
    value = fixed(best.quality.estimates[group.headline].value, 3)
    if best.role == "first_stage":
        return ("No reranker improves on the order of ", best.label, f" ({group.headline} {value}).")
    comparison = best.quality.against.get(group.headline)
    if comparison is None:
        return ("", best.label, f" ranks best, with {group.headline} {value}.")
    verdict = "significant" if comparison.significant else "not significant"
    return (
        "",
        best.label,
        f" ranks best, with {group.headline} {value}: {signed(comparison.difference)} over ",
        group.baseline or "",
        f" ({verdict}, {p_value(comparison.p_holm)}).",
    )


def _trade_off(measure: str, best: SystemResult, rerankers: Sequence[SystemResult]) -> list[Sentence]:
    """Return a sentence on the fastest system that is not significantly worse than the best one.

    Without such a system, it is about the best of those that are at least a tenth faster. Return an empty
    list where the best system was not timed, or is the only reranker.

    Args:
        measure: name of the headline measure.
        best: the best system.
        rerankers: all rerankers, best first.
    """
    if best.timing.speedup is None:
        return []
    faster = [system for system in rerankers if _speed(system) > 1.1 * _speed(best)]
    if not faster:
        return [_fastest(best, rerankers)] if len(rerankers) > 1 else []
    against = {system.label: _against(measure, system, best) for system in faster}
    close = [system for system in faster if against[system.label].p_value >= 0.05]
    other = max(close, key=_speed) if close else faster[0]
    comparison = against[other.label]
    if _equivalent(measure, other, best):
        verdict = f"equivalent at margin {MARGIN}"
    elif comparison.p_value < 0.05:
        verdict = f"significantly worse, {p_value(comparison.p_value)}"
    else:
        verdict = f"not significantly different, yet not equivalent at margin {MARGIN}"
    return [
        (
            "",
            other.label,
            f" is {times(_speed(other) / _speed(best))} times faster than ",
            best.label,
            f" at {signed(comparison.difference)} {measure} ({verdict}){_about_store(other, best)}.",
        )
    ]


def _about_store(fast: SystemResult, slow: SystemResult) -> str:
    """Return the clause that names stored embeddings where only one of two systems has them, else ""."""
    if fast.is_precomputed == slow.is_precomputed:
        return ""
    if slow.is_precomputed:
        return f", although only {slow.label} reads passage embeddings that were computed beforehand"
    return (
        "; its passage embeddings were computed beforehand, which its latency leaves out, and those of the "
        "other were not"
    )


def _fastest(best: SystemResult, rerankers: Sequence[SystemResult]) -> Sentence:
    """Return the sentence for a best system that no other reranker beats in speed by a tenth."""
    if best.timing.latency and max(rerankers, key=_speed) is best:
        if best.timing.is_amortised:
            rate = significant(best.work.counts["queries_per_second"])
            return (f"It is also the fastest reranker, at {rate} queries per second.",)
        milliseconds = significant(1e3 * best.timing.latency.p50.value)
        stored = ", with passage embeddings computed beforehand" if best.is_precomputed else ""
        return (f"It is also the fastest reranker, at {milliseconds} ms per query{stored}.",)
    return ("No other reranker is faster by a tenth or more.",)


def _speed(system: SystemResult) -> float:
    """Return a system's speed-up over the group's reference; 0.0 where it was not timed."""
    return system.timing.speedup.value if system.timing.speedup else 0.0


def _against(measure: str, system: SystemResult, other: SystemResult) -> Comparison:
    """Return the comparison of one system with another on a measure, paired over the queries."""
    pair = {
        label: {measure: result.quality.per_query[measure]} for label, result in (("a", system), ("b", other))
    }
    return quality.compare(pair, "b")["a"][measure]


def _equivalent(measure: str, system: SystemResult, other: SystemResult) -> bool:
    """Return whether two systems are equivalent on a measure, within a margin of 0.01, at level 0.05."""
    ours, theirs = (list(result.quality.per_query[measure].values()) for result in (system, other))
    return equivalence_test(ours, theirs, MARGIN) < 0.05


def _worse(group: Group, rerankers: Sequence[SystemResult]) -> list[Sentence]:
    """Return a sentence that lists the rerankers significantly worse than the baseline; [] for none."""
    worse = [
        system.label
        for system in rerankers
        if group.headline in system.quality.against
        and system.quality.against[group.headline].significant
        and system.quality.against[group.headline].difference < 0
    ]
    if not worse:
        return []
    parts: list[str] = [""]
    for position, label in enumerate(worse):
        parts += [
            label,
            "" if position == len(worse) - 1 else " and " if position == len(worse) - 2 else ", ",
        ]
    parts[-1] = f" {'is' if len(worse) == 1 else 'are'} significantly worse than "
    return [(*parts, group.baseline or "", ".")]
