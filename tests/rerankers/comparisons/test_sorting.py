from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankers.comparisons.sorting import heap_order, pair_bubble_order, set_bubble_order

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

PUBLISHED: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "golden" / "windows" / "setwise.json").read_text(encoding="utf-8")
)
CASES: list[dict[str, Any]] = [case for case in PUBLISHED["setwise"] if "faults" not in case]
SORTS = [("heap", 1), ("heap", 2), ("heap", 3), ("pairs", 1), ("sets", 1), ("sets", 3)]
SORT_OF = {"heapsort": "heap", "bubblesort": "sets"}


def finish(steps: Generator[None, None, list[int]]) -> list[int]:
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return list(finished.value)


def steps_of(
    sort: str, children: int, count: int, top: int, best: Callable[..., Any]
) -> Generator[None, None, list[int]]:
    if sort == "pairs":
        return pair_bubble_order(count, top, best)
    return (heap_order if sort == "heap" else set_bubble_order)(count, top, children, best)


def run(sort: str, children: int, values: list[int], top: int) -> tuple[list[int], list[list[int]]]:
    """Return the order by highest value, and what each comparison showed."""
    calls: list[list[int]] = []

    def best(items: Sequence[int]) -> Generator[None, None, int]:
        calls.append(list(items))
        yield
        return max(range(len(items)), key=lambda i: values[items[i]])  # the first of equals

    return finish(steps_of(sort, children, len(values), top, best)), calls


@pytest.mark.parametrize(("sort", "size"), SORTS)
@given(values=st.lists(st.integers(0, 9), max_size=30), top=st.integers(1, 12))
def test_the_first_places_are_the_best_items(sort: str, size: int, values: list[int], top: int) -> None:
    order, _ = run(sort, size, values, top)
    assert sorted(order) == list(range(len(values)))
    exact = min(top, 1) if sort == "sets" else top  # the published passes of sets may skip a later one
    assert [values[i] for i in order[:exact]] == sorted(values, reverse=True)[:exact]


@pytest.mark.parametrize(("sort", "size"), SORTS)
@given(picks=st.lists(st.integers(0, 9), min_size=1), count=st.integers(0, 20))
def test_contradictory_choices_still_give_a_permutation(
    sort: str, size: int, picks: list[int], count: int
) -> None:
    call_count = 0

    def best(items: Sequence[int]) -> Generator[None, None, int]:
        nonlocal call_count
        call_count += 1
        yield
        return picks[call_count % len(picks)] % len(items)

    assert sorted(finish(steps_of(sort, size, count, 5, best))) == list(range(count))


def test_bubble_passes_keep_the_order_of_equals() -> None:
    assert run("pairs", 1, [1, 1, 1, 1], top=4)[0] == [0, 1, 2, 3]
    assert run("sets", 2, [1, 1, 1, 1], top=4)[0] == [0, 1, 2, 3]


def test_passes_of_sets_skip_what_the_published_code_skips() -> None:
    order, calls = run("sets", 3, [0, 1, 0, 0, 1], top=2)
    assert order == [1, 0, 2, 3, 4]
    assert calls == [[1, 2, 3, 4], [0, 1], [0, 2]]  # item 4 is not shown again


def test_settled_ranks_cost_what_the_paper_counts() -> None:
    ascending = list(range(100))
    assert len(run("pairs", 1, ascending, top=1)[1]) == 99  # n - 1 pairs in a pass
    assert len(run("sets", 3, ascending, top=1)[1]) == 33  # (n - 1) / 3 sets of four in a pass
    assert len(run("heap", 3, ascending, top=10)[1]) < len(run("sets", 3, ascending, top=10)[1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['method']}-{case['n']}-{case['num_child']}")
def test_setwise_makes_the_published_calls(case: dict[str, Any]) -> None:
    order, calls = run(SORT_OF[case["method"]], case["num_child"], case["relevance"], case["k"])
    assert order == case["ranking"]
    if "calls" in case:
        assert calls == [
            passages for passages in case["calls"] if len(passages) > 1
        ]  # one passage needs no call
    if len(calls) == case["comparisons"]:
        written = json.dumps(calls, separators=(",", ":")).encode()
        assert hashlib.sha256(written).hexdigest() == case["calls_sha256"]
    assert len(calls) == case["comparisons"] or case["method"] == "bubblesort"


def test_an_answer_that_names_no_passage_shown_keeps_the_parent_as_published() -> None:
    [case] = [case for case in PUBLISHED["setwise"] if "faults" in case and case["method"] == "heapsort"]
    values, calls = case["relevance"], []

    def best(items: Sequence[int]) -> Generator[None, None, int]:
        calls.append(list(items))
        yield
        if str(len(calls)) in case["faults"]:
            return 0
        return max(range(len(items)), key=lambda i: values[items[i]])

    assert finish(heap_order(case["n"], case["k"], case["num_child"], best)) == case["ranking"]
    assert len(calls) == case["comparisons"]
