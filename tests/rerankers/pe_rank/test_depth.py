from __future__ import annotations

import random
from itertools import product

import pytest

from rerankers.listwise.windows import sliding_windows
from rerankers.pe_rank.depth import lossless_depths


def ranked(count: int, windows: list[tuple[int, int]], depths: list[int] | None, seed: int) -> list[int]:
    """Rank by windows with a model that looks at the whole window in order, as a language model does.

    The score of each open passage depends on the window's order and on what was placed so far.
    """
    order = list(range(count))
    for j, (start, end) in enumerate(windows):
        window = order[start:end]
        depth = end - start if depths is None else depths[j]
        placed: list[int] = []
        while len(placed) < depth:
            choose = random.Random(f"{seed}:{window}:{placed}")
            placed.append(choose.choice([i for i in window if i not in placed]))
        order[start:end] = placed + [i for i in window if i not in placed]
    return order


@pytest.mark.parametrize(("window", "policy"), [*product([2, 3, 4, 5], ["clipped", "reference"])])
def test_the_top_k_is_that_of_full_decoding(window: int, policy: str) -> None:
    for step, count, seed in product(range(1, window + 1), range(13), range(2)):
        windows = sliding_windows(count, window, step, policy)  # type: ignore[arg-type]
        full = ranked(count, windows, None, seed)
        for top_k in range(1, count + 2):
            depths = lossless_depths(windows, top_k)
            order = ranked(count, windows, depths, seed)
            assert order[:top_k] == full[:top_k]
            assert sorted(order) == list(range(count))


@pytest.mark.parametrize(("window", "step"), [(3, 1), (4, 2), (4, 3), (5, 2)])
def test_no_window_is_decoded_deeper_than_it_has_to_be(window: int, step: int) -> None:
    """One place less in any window changes the top k for some model."""
    for count, top_k in product((6, 7, 8), (1, 2, 3, 6)):
        windows = sliding_windows(count, window, step)
        depths = lossless_depths(windows, top_k)
        for j, depth in enumerate(depths):
            size = windows[j][1] - windows[j][0]
            if depth in (0, size):  # the last place of a window follows from the others
                continue
            less = [*depths[:j], depth - 1, *depths[j + 1 :]]
            assert any(
                ranked(count, windows, less, seed)[:top_k] != ranked(count, windows, None, seed)[:top_k]
                for seed in range(200)
            )


def test_ten_of_twenty_places_are_enough_for_the_top_ten() -> None:
    windows = sliding_windows(100, 20, 10)
    assert lossless_depths(windows, 10) == [10] * 9


def test_without_a_limit_the_final_places_of_every_window_are_decoded() -> None:
    assert lossless_depths([(10, 30), (0, 20)], None) == [20, 20]


def test_a_clipped_window_hands_over_what_the_next_one_reads() -> None:
    # 45 candidates: [25, 45) [15, 35) [5, 25) [0, 15); each next window reads ten places of the one before
    assert lossless_depths(sliding_windows(45, 20, 10), 3) == [10, 10, 10, 3]


def test_windows_that_do_not_overlap_are_skipped_below_the_answer() -> None:
    assert lossless_depths([(8, 12), (4, 8), (0, 4)], 6) == [0, 2, 4]
