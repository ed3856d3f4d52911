"""Sorting by questions: orders built from choices of the best among a few (heap sort, bubble sort).

A choice costs a call of a language model, so the algorithms are those of arXiv 2306.17563 (pairs) and arXiv
2310.09497 (sets): they settle the first places only. They are generators, because the choice is one: whatever
it yields goes out to the backend. A choice that contradicts an earlier one does no harm but to the order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

Y = TypeVar("Y")
S = TypeVar("S")
Best = Callable[[Sequence[int]], Generator[Y, S, int]]
"""Chooses among items given in their current order; the position of the best one."""


def heap_order(count: int, top: int, children: int, best: Best[Y, S]) -> Generator[Y, S, list[int]]:
    """The `top` best of `count` items, best first, by a heap; the others follow in their original order.

    Each choice is between a parent and its up to `children` children; n items need about n / children choices
    to build the heap and log n for each place.
    """
    heap = list(range(count))

    def sift_down(parent: int, end: int) -> Generator[Y, S, None]:
        while children * parent + 1 < end:
            family = [parent, *range(children * parent + 1, min(children * parent + children + 1, end))]
            winner = family[(yield from best([heap[node] for node in family]))]
            if winner == parent:
                return
            heap[parent], heap[winner] = heap[winner], heap[parent]
            parent = winner

    for parent in reversed(range((count + children - 2) // children)):
        yield from sift_down(parent, count)
    settled: list[int] = []
    for end in range(count, max(0, count - top), -1):
        settled.append(heap[0])
        heap[0] = heap[end - 1]
        yield from sift_down(0, end - 1)
    return settled + sorted(set(range(count)) - set(settled))


def bubble_order(count: int, top: int, width: int, best: Best[Y, S]) -> Generator[Y, S, list[int]]:
    """The `top` best of `count` items, best first, by passes from the tail to the head of the list.

    Each choice is between `width` neighbours, of which the best moves to the front and on into the next
    choice; the others keep their order. A pass needs about n / (width - 1) choices and settles one place.
    """
    order = list(range(count))
    for settled in range(min(top, count - 1)):
        end = count
        while end - settled > 1:
            start = max(settled, end - width)
            winner = yield from best(order[start:end])
            order.insert(start, order.pop(start + winner))
            end = start + 1
    return order
