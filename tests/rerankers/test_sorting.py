from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankers.sorting import bubble_order, heap_order

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

SORTS = [("heap", 1), ("heap", 2), ("heap", 3), ("bubble", 2), ("bubble", 4)]


def finish(steps: Generator[None, None, list[int]]) -> list[int]:
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return list(finished.value)


def run(sort: str, size: int, values: list[int], top: int) -> tuple[list[int], int]:
    """The order by highest value, and the number of choices it took."""
    choices = 0

    def best(items: Sequence[int]) -> Generator[None, None, int]:
        nonlocal choices
        choices += 1
        yield
        return max(range(len(items)), key=lambda i: values[items[i]])  # the first of equals

    steps = (heap_order if sort == "heap" else bubble_order)(len(values), top, size, best)
    return finish(steps), choices


@pytest.mark.parametrize(("sort", "size"), SORTS)
@given(values=st.lists(st.integers(0, 9), max_size=30), top=st.integers(1, 12))
def test_the_first_places_are_the_best_items(sort: str, size: int, values: list[int], top: int) -> None:
    order, _ = run(sort, size, values, top)
    assert sorted(order) == list(range(len(values)))
    assert [values[i] for i in order[:top]] == sorted(values, reverse=True)[:top]


@pytest.mark.parametrize(("sort", "size"), SORTS)
@given(picks=st.lists(st.integers(0, 9), min_size=1), count=st.integers(0, 20))
def test_contradictory_choices_still_give_a_permutation(
    sort: str, size: int, picks: list[int], count: int
) -> None:
    asked = 0

    def best(items: Sequence[int]) -> Generator[None, None, int]:
        nonlocal asked
        asked += 1
        yield
        return picks[asked % len(picks)] % len(items)

    steps = (heap_order if sort == "heap" else bubble_order)(count, 5, size, best)
    assert sorted(finish(steps)) == list(range(count))


def test_bubble_passes_keep_the_order_of_equals() -> None:
    assert run("bubble", 2, [1, 1, 1, 1], top=4)[0] == [0, 1, 2, 3]


def test_settled_places_cost_what_the_paper_counts() -> None:
    ascending = list(range(100))
    assert run("bubble", 2, ascending, top=1)[1] == 99  # n - 1 pairs in a pass
    assert run("bubble", 4, ascending, top=1)[1] == 33  # (n - 1) / 3 sets of four in a pass
    assert run("heap", 3, ascending, top=10)[1] < run("bubble", 4, ascending, top=10)[1]
