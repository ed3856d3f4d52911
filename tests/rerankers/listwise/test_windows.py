"""Windows cover the list from its tail to its head."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankers.errors import InputError
from rerankers.listwise.windows import sliding_windows


def test_a_hundred_candidates_take_nine_windows() -> None:
    windows = sliding_windows(100, 20, 10)
    assert windows == [(start, start + 20) for start in range(80, -1, -10)]


def test_the_last_window_is_clipped_at_the_head() -> None:
    assert sliding_windows(45, 20, 10) == [(25, 45), (15, 35), (5, 25), (0, 15)]


def test_the_reference_policy_leaves_an_unaligned_head_unranked() -> None:
    assert sliding_windows(45, 20, 10, "reference") == [(25, 45), (15, 35), (5, 25)]


def test_a_short_list_takes_one_window() -> None:
    assert sliding_windows(13, 20, 10) == [(0, 13)]
    assert sliding_windows(13, 20, 10, "reference") == [(0, 13)]


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("window", [0, 20])
def test_nothing_to_compare_takes_no_window(count: int, window: int) -> None:
    assert sliding_windows(count, window, 10) == []


def test_window_zero_takes_all_at_once() -> None:
    assert sliding_windows(73, 0, 10) == [(0, 73)]


def test_the_smallest_lists_get_the_smallest_windows() -> None:
    assert sliding_windows(2, 0, 10) == [(0, 2)]
    assert sliding_windows(1, 0, 10) == []
    assert sliding_windows(2, 2, 1) == [(0, 2)]


def test_a_head_of_one_is_no_window() -> None:
    assert sliding_windows(5, 2, 2) == [(3, 5), (1, 3)]  # what is left is passage 0 alone


@pytest.mark.parametrize(("window", "step"), [(1, 1), (20, 0), (20, 21), (-3, 1)])
def test_windows_that_cannot_work_are_refused(window: int, step: int) -> None:
    with pytest.raises(InputError, match="need window >= 2"):
        sliding_windows(50, window, step)


@given(st.integers(2, 200), st.integers(2, 40), st.integers(1, 40))
def test_clipped_windows_cover_every_candidate_and_overlap(count: int, window: int, step: int) -> None:
    step = min(step, window - 1)  # a step as wide as the window carries nothing over, and overlaps nowhere
    windows = sliding_windows(count, window, step)
    assert windows[0][1] == count
    assert windows[-1][0] == 0
    assert all(2 <= end - start <= window for start, end in windows)
    for (later_start, _), (start, end) in pairwise(windows):
        assert start < later_start < end


@given(st.integers(2, 30), st.integers(2, 12), st.integers(1, 12))
def test_policies_agree_where_the_depth_is_aligned_with_the_step(k: int, window: int, step: int) -> None:
    step = min(step, window)
    count = window + k * step
    assert sliding_windows(count, window, step) == sliding_windows(count, window, step, "reference")
