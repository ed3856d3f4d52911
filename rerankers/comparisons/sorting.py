"""Sort algorithms driven by a comparator that selects the best of a few items.

A comparison costs a call of a language model, so the algorithms are those of arXiv 2306.17563 (pairs) and
arXiv 2310.09497 (sets), an insertion of sets, and the points of all pairs. The sorts settle the first ranks
only. They are generators, as the comparator is one: whatever it yields goes out to the caller, and what the
caller sends back goes in. Items are numbers from 0. A contradictory comparison spoils the order and nothing
else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

Y = TypeVar("Y")
S = TypeVar("S")
Best = Callable[[Sequence[int]], Generator[Y, S, int]]
"""A comparator: takes items in their current order and returns the position, among them, of the best one."""
InOrder = Callable[[Sequence[int]], Generator[Y, S, list[int]]]
"""A comparator: takes items in their current order and returns their positions, best first."""


Wins = Callable[[int, int], Generator[Y, S, bool]]
"""A comparator: returns whether the first item beats the second one, which stands before it."""


def best_by_pairs(wins: Wins[Y, S]) -> Best[Y, S]:
    """Return a comparator of several items, made from one of two: each item meets the best one before it."""

    def best(items: Sequence[int]) -> Generator[Y, S, int]:
        """Return the place in `items` of the one that is left after each has met the best one before it."""
        leader = 0
        for challenger in range(1, len(items)):
            if (yield from wins(items[challenger], items[leader])):
                leader = challenger
        return leader

    return best


def points_order(count: int, results: Iterable[tuple[int, int, int]]) -> list[int]:
    """Return the items 0 to `count` - 1, most points first; items with as many points keep their input order.

    Args:
        count: how many items.
        results: of each pair: both items, and 1 if the first wins, -1 if the second wins, 0 for a tie. A win
            is one point and a tie half a point each.
    """
    halves = [0] * count
    for first, second, result in results:
        halves[first] += 1 + result
        halves[second] += 1 - result
    return sorted(range(count), key=lambda item: -halves[item])


def heap_order(
    count: int, top: int, children: int, best: Best[Y, S], *, rest_as_left: bool = False
) -> Generator[Y, S, list[int]]:
    """Sort the items 0 to `count` - 1 by a heap until the `top` best are known, and return them, best first.

    The other items follow in input order. Each comparison shows a parent and its up to `children` children,
    the parent first. n items need about n / children comparisons to build the heap and log n for each rank.

    Args:
        count: how many items.
        top: ranks to settle.
        children: of a node of the heap.
        best: comparator of a parent and its children.
        rest_as_left: return the others in the heap's order, last node first, after one more sift. The code of
            `liuqi6777/llm4ranking` does so.
    """
    heap = list(range(count))

    def sift_down(parent: int, end: int) -> Generator[Y, S, None]:
        """Move the item at node `parent` down, below better children, within the first `end` nodes."""
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
        if settled:
            yield from sift_down(0, end)
        settled.append(heap[0])
        heap[0] = heap[end - 1]
    if rest_as_left:
        left = count - len(settled)
        yield from sift_down(0, left)
        return settled + heap[:left][::-1]
    return _followed_by_rest(settled, count)


def pair_bubble_order(count: int, top: int, best: Best[Y, S]) -> Generator[Y, S, list[int]]:
    """Sort the items 0 to `count` - 1 by passes over neighbouring pairs, and return them, best first.

    Each pass runs from tail to head: the better of a pair moves to the front and on into the next pair. It
    needs n - 1 comparisons and settles one rank (arXiv 2306.17563, section 3.3). `top` ranks are settled; the
    other items stay as the passes left them.
    """
    order = list(range(count))
    for settled in range(min(top, count - 1)):
        for start in range(count - 2, settled - 1, -1):
            if (yield from best(order[start : start + 2])):
                order[start], order[start + 1] = order[start + 1], order[start]
    return order


def set_bubble_order(
    count: int, top: int, children: int, best: Best[Y, S], *, rest_as_left: bool = False
) -> Generator[Y, S, list[int]]:
    """Sort the items 0 to `count` - 1 by passes over small sets, and return them, the `top` best first.

    The rest follows in input order. A comparison shows up to `children` + 1 neighbours; the best changes
    places with the first of them, which the next comparison shows last. A pass begins where the one before
    first changed something: behind that place every comparison would be repeated. The published code's rule
    for that place is kept to the letter, because it decides which calls are made, although behind a set
    clipped at the head it skips a few passages too many: [0, 1, 0, 0, 1] with 3 children keeps its last item
    last. The published code's calls that show one passage or none are left out. With one child these are the
    passes of `liuqi6777/llm4ranking`, which leaves the rest as the passes left it (`rest_as_left`).
    """
    order = list(range(count))
    tail = first_start = count - (children + 1)
    for settled in range(min(top, count)):
        start, end = first_start, first_start + children + 1
        has_changed = False
        while True:
            start = max(start, settled)
            items = order[start:end]
            winner = (yield from best(items)) if len(items) > 1 else 0
            if winner:
                order[start], order[start + winner] = order[start + winner], order[start]
                if not has_changed and first_start != tail and winner == len(items) - 1:
                    first_start += len(items) - 1
                has_changed = True
            if start == settled:
                break
            if not has_changed:
                first_start -= children
            start, end = start - children, end - children
    return order if rest_as_left else _followed_by_rest(order[:top], count)


def insertion_order(
    count: int, top: int, children: int, best: Best[Y, S], in_order: InOrder[Y, S] | None = None
) -> Generator[Y, S, list[int]]:
    """Sort the items 0 to `count` - 1 by insertions, and return them, the `top` best first.

    The rest keeps its order.

    The first `top` items are sorted by a heap. Then up to `children` further items at a time are compared
    with the last of the best so far. The winner takes its place and moves up in sets of `children` + 1, as
    long as it wins. `LeonPeric/llm-rankers` published this sort in both forms: `max_compare` reads the best
    of a set only, and `sort_compare` its whole order.

    Args:
        count: how many items.
        top: ranks to settle, at least one.
        children: items of a set beside the one they are compared with.
        best: reads the best of a set.
        in_order: reads the order of a set. Items that lose to the last of the best so far are then dropped,
            and the set's items change places on the winner's way up.
    """

    def compare(items: list[int]) -> Generator[Y, S, list[int]]:
        """Return the positions of `items`, best first; without `in_order`, only the first one is compared."""
        if in_order is not None:
            return (yield from in_order(items))
        winner = yield from best(items)
        return [winner, *(i for i in range(len(items)) if i != winner)]

    leaders = yield from heap_order(min(count, top), top, children, best)
    candidates = list(range(len(leaders), count))
    while candidates:
        group, candidates = [leaders[-1], *candidates[:children]], candidates[children:]
        ranking = yield from compare(group)
        winner = ranking[0]
        if winner == 0:
            continue
        others = [i for i in range(1, len(group)) if i != winner]
        again = others if in_order is None else ranking[1 : ranking.index(0)]
        candidates = [*(group[i] for i in again), *candidates]
        leaders[-1] = group[winner]
        end = len(leaders)
        while end > 1:  # the winner is the last of the set
            start = max(0, end - children - 1)
            ranking = yield from compare(leaders[start:end])
            has_won = ranking[0] == end - start - 1
            leaders[start:end] = [leaders[start + i] for i in ranking]
            if not has_won:
                break
            end = start + 1
    return _followed_by_rest(leaders, count)


def _followed_by_rest(settled: list[int], count: int) -> list[int]:
    """Return the settled items, followed by all others below `count` in input order."""
    return settled + sorted(set(range(count)) - set(settled))
