"""Sorts whose comparisons are windows: a call shows a few passages, and its best moves up.

The algorithms are those of `rerankers.comparisons.sorting`. A window of w passages is a parent with w - 1
children. Of a heap sort and a bubble sort only the best passage of a window is read; an insertion sort reads
the whole order, as the published `sort_compare` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.comparisons.sorting import heap_order, insertion_order, set_bubble_order
from rerankers.listwise.windows.rounds import ranked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.listwise.windows.rounds import Rounds, Steps


def heap_sort(order: Sequence[int], window: int, top: int) -> Rounds:
    """Sort candidates by a heap until `top` ranks are settled, and return their positions, best first.

    The rest follows in the order shown.

    Args:
        order: candidate positions as they are shown at first.
        window: passages in a call.
        top: ranks to settle.
    """
    settled = yield from heap_order(len(order), top, window - 1, _best_of(order))
    return [order[i] for i in settled]


def bubble_sort(order: Sequence[int], window: int, top: int) -> Rounds:
    """Sort candidates by passes of windows from tail to head, and return their positions, best first.

    The rest follows in the order shown.

    Args:
        order: candidate positions as they are shown at first.
        window: passages in a call.
        top: ranks to settle, one by each pass.
    """
    settled = yield from set_bubble_order(len(order), top, window - 1, _best_of(order))
    return [order[i] for i in settled]


def insertion_sort(order: Sequence[int], window: int, top: int) -> Rounds:
    """Sort candidates by inserting those that beat the last of the best so far; return positions, best first.

    The rest follows in the order shown.

    Args:
        order: candidate positions as they are shown at first.
        window: passages in a call.
        top: ranks to settle.
    """

    def in_order(items: Sequence[int]) -> Steps[list[int]]:
        """Return the places in `items` (places in `order`) in the order that a call gives them."""
        passages = [order[i] for i in items]
        ranks = yield from ranked(passages)
        return [passages.index(position) for position in ranks]

    settled = yield from insertion_order(len(order), top, window - 1, _best_of(order), in_order)
    return [order[i] for i in settled]


def _best_of(order: Sequence[int]) -> Callable[[Sequence[int]], Steps[int]]:
    """Return the comparator of a sort over places in `order`: a call returns the place of the best item."""

    def best(items: Sequence[int]) -> Steps[int]:
        """Return the place in `items` (places in `order`) of the passage that a call ranks first."""
        passages = [order[i] for i in items]
        ranks = yield from ranked(passages, 1)
        return passages.index(ranks[0])

    return best
