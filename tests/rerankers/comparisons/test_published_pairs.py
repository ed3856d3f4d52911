"""Sorts by pairs make the calls of llm4ranking, and sorts of sets cost what Setwise's codes cost on DL19."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from rerankers.comparisons.sorting import (
    best_by_pairs,
    heap_order,
    insertion_order,
    points_order,
    set_bubble_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

PUBLISHED: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "golden" / "windows" / "comparisons.json").read_text(encoding="utf-8")
)
GRADES = [[int(grade) for grade in row] for row in PUBLISHED["dl19_grades"]["queries"].values()]


def cases(strategy: str) -> list[Any]:
    matching = [case for case in PUBLISHED["llm4ranking"] if case["strategy"] == strategy]
    assert len(matching) == 5
    return [pytest.param(case, id=str(case["n"])) for case in matching]


def finish(steps: Generator[None, None, list[int]]) -> list[int]:
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return list(finished.value)


def check_calls(calls: list[list[int]], case: dict[str, Any]) -> None:
    assert len(calls) == case["calls_count"]
    written = json.dumps(calls, separators=(",", ":")).encode()
    assert hashlib.sha256(written).hexdigest() == case["calls_sha256"]


def compared(case: dict[str, Any]) -> tuple[list[list[int]], Any]:
    """Return calls so far, and a comparator of pairs that knows the relevance; in a tie the leader wins."""
    calls: list[list[int]] = []

    def wins(challenger: int, leader: int) -> Generator[None, None, bool]:
        calls.append([challenger, leader])
        yield
        return bool(case["relevance"][challenger] > case["relevance"][leader])

    return calls, best_by_pairs(wins)


@pytest.mark.parametrize("case", cases("PairwiseHeapSort"))
def test_a_heap_of_pairs_makes_the_published_calls(case: dict[str, Any]) -> None:
    calls, best = compared(case)
    top = case["parameters"]["topk"]
    assert finish(heap_order(case["n"], top, 2, best, rest_as_left=True)) == case["ranking"]
    check_calls(calls, case)
    fewer, best = compared(case)
    assert finish(heap_order(case["n"], top, 2, best))[:top] == case["ranking"][:top]
    assert fewer == calls[: len(fewer)]  # the last sift settles nothing


@pytest.mark.parametrize("case", cases("PairwiseBubbleSort"))
def test_passes_of_pairs_make_the_published_calls(case: dict[str, Any]) -> None:
    calls, best = compared(case)
    order = finish(set_bubble_order(case["n"], case["parameters"]["topk"], 1, best, rest_as_left=True))
    assert order == case["ranking"]
    check_calls(calls, case)


@pytest.mark.parametrize("case", cases("PairwiseAllPair"))
def test_points_of_all_pairs_give_the_published_order(case: dict[str, Any]) -> None:
    values = case["relevance"]
    pairs = list(combinations(range(case["n"]), 2))
    check_calls([list(pair) for pair in pairs], case)
    results = [(a, b, (values[a] > values[b]) - (values[a] < values[b])) for a, b in pairs]
    assert points_order(case["n"], results) == case["ranking"]


def comparisons(
    sort: Callable[..., Generator[None, None, list[int]]], grades: list[int], children: int, **more: Any
) -> int:
    """Count the comparisons that an oracle makes to settle ten ranks; equal grades: the first shown wins."""
    count = 0

    def best(items: Sequence[int]) -> Generator[None, None, int]:
        nonlocal count
        count += 1
        yield
        return max(range(len(items)), key=lambda i: grades[items[i]])

    def in_order(items: Sequence[int]) -> Generator[None, None, list[int]]:
        nonlocal count
        count += 1
        yield
        return sorted(range(len(items)), key=lambda i: -grades[items[i]])

    finish(sort(len(grades), 10, children, best, **({"in_order": in_order} if more else {})))
    return count


@pytest.mark.parametrize(
    "row", PUBLISHED["setwise_counts_dl19"]["rows"], ids=lambda row: str(row["shown_at_once"])
)
def test_sorts_of_sets_make_as_many_comparisons_on_dl19_as_published(row: dict[str, Any]) -> None:
    assert len(GRADES) == PUBLISHED["setwise_counts_dl19"]["queries"]
    children = row["num_child"]
    for name, sort, more in (
        ("heapsort", heap_order, {}),
        ("insertion.max_compare", insertion_order, {}),
        ("insertion.sort_compare", insertion_order, {"reads": "order"}),
    ):
        mean_comparisons = mean(comparisons(sort, grades, children, **more) for grades in GRADES)
        assert round(mean_comparisons, 2) == row[name], name
    bubbles = mean(comparisons(set_bubble_order, grades, children) for grades in GRADES)
    # Calls that show one passage or none, at most three a query, are left out here.
    assert row["bubblesort"] - 3 < bubbles < row["bubblesort"]
