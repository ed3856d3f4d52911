"""Comparison of several ways to rank the same candidates, in one process, in turn, as ratios of CPU seconds.

CPU seconds of the process do not count other work on the machine.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rerankers import Ranking, RerankRequest

ROUNDS = 5


def whole_model(kind: str, folder: str) -> Any:
    """Load a folder's checkpoint as the named class of transformers, such as `AutoModelForCausalLM`."""
    import transformers

    return getattr(transformers, kind).from_pretrained(folder).eval()


def ask(reranker: Any, requests: list[RerankRequest]) -> list[Ranking]:
    """Rank requests in one call and return the rankings."""
    rankings: list[Ranking] = reranker.rerank(requests, StageClock())
    return rankings


def scores_of(requests: list[RerankRequest], rankings: list[Ranking]) -> list[float]:
    """Return all passages' scores in one list, in the order of the requests and their candidates."""
    by_doc_id = [dict(zip(ranking.doc_ids, ranking.scores, strict=True)) for ranking in rankings]
    return [
        scores[candidate.doc_id]
        for request, scores in zip(requests, by_doc_id, strict=True)
        for candidate in request.candidates
    ]


def in_turns(ways: Mapping[str, Callable[[], object]], benchmark: Any, rounds: int) -> dict[str, list[float]]:
    """Run all ways in turn, `rounds` times, and return the CPU seconds of each run by way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}

    def run_all() -> None:
        for name, way in ways.items():
            started = time.process_time()
            way()
            seconds[name].append(time.process_time() - started)

    benchmark.pedantic(run_all, rounds=rounds)
    return seconds


def compare(
    title: str,
    ways: dict[str, Callable[[], list[float]]],
    benchmark: Any,
    capsys: pytest.CaptureFixture[str],
    rounds: int = ROUNDS,
) -> None:
    """Run all ways in turn, `rounds` times, and print the first one's CPU seconds over each other's.

    The median ratios also go into the benchmark's `extra_info`. All ways must give the same scores to 1e-4.

    Args:
        title: heading of what is printed.
        ways: functions that return the scores, by name.
        benchmark: pytest-benchmark's fixture.
        capsys: pytest's fixture, to print the comparison.
        rounds: how often each way runs.
    """
    scores = [way() for way in ways.values()]
    assert all(way_scores == pytest.approx(scores[0], abs=1e-4) for way_scores in scores[1:])
    seconds = in_turns(ways, benchmark, rounds)
    first, *others = seconds
    lines = [f"\n{title}: {first} {statistics.median(seconds[first]):.3f} CPU s"]
    for name in others:
        ratios = [a / b for a, b in zip(seconds[first], seconds[name], strict=True)]
        benchmark.extra_info[name] = statistics.median(ratios)
        lines.append(
            f"{name:>24} {statistics.median(seconds[name]):.3f} s, "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    with capsys.disabled():
        print("\n".join(lines))
