"""Sliding windows over a long candidate list, back to front (RankGPT, arXiv 2304.09542, section 4).

The window moves from the tail of the list to its head, so the best passages of the tail are carried along.
Its two ends agree wherever the depth is aligned with the step, and differ at the head:

- `clipped`: the last window is clipped at the head (45 candidates, window 20, step 10: [25,45) [15,35) [5,25)
  [0,15)), so the head of the list is always compared.
- `reference`: the published code stops as soon as the next window would start below zero, so that the first
  5 of 45 candidates are never ranked. Kept to reproduce published numbers.

Three more loops are kept for the same reason:

- `aligned`: TDPart's own sliding window begins at multiples of the step. A window is left out if it holds no
  more than a step, unless it is the first of the list (45 candidates: [30,45) [20,40) [10,30) [0,20)).
- `rank-k`: the loop of Rank-K counts windows from `depth`, whatever the list's length, as slices of Python
  do. Its slices that hold no passage, or one, are left out here. Where the step does not divide the depth,
  some passages are never ranked.
- `first`: TDPart's single window over the head of the list.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from rerankers.errors import InputError
from rerankers.listwise.windows.rounds import ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.listwise.windows.rounds import Rounds

WindowPolicy = Literal["clipped", "reference", "aligned", "rank-k", "first"]
RANK_K_DEPTH = 100
"""Depth from which Rank-K's published loop counts windows unless an option sets another."""


def sliding_windows(
    count: int, window: int, step: int, policy: WindowPolicy = "clipped", depth: int = RANK_K_DEPTH
) -> list[tuple[int, int]]:
    """Return (start, end), half-open, of the windows over `count` candidates, in the order of ranking.

    One candidate or none needs no window. A `window` of 0 means one window over all candidates (`full`).

    Args:
        count: how many candidates.
        window: passages in a window.
        step: ranks by which a window moves.
        policy: where windows begin and end.
        depth: of `rank-k`: the depth that its windows are counted from.

    Raises:
        InputError: the step is not in 1..window, or a window holds fewer than two.
    """
    if window == 0:
        return [(0, count)] if count > 1 else []
    if window < 2 or not 1 <= step <= window:
        raise InputError(
            f"window {window} and step {step} do not fit: need window >= 2 and 1 <= step <= window"
        )
    if count < 2:
        return []
    if policy == "first":
        return [(0, min(window, count))]
    if policy == "aligned":
        starts = range((count - 1) // step * step, -1, -step)
        candidates = [(start, min(start + window, count)) for start in starts]
        return [(start, end) for start, end in candidates if start == 0 or end - start > step]
    if policy == "rank-k":
        return _rank_k_windows(count, window, step, depth)
    windows = []
    start, end = count - window, count
    while start > 0:
        windows.append((start, end))
        start, end = start - step, end - step
    if end > 1 and (policy == "clipped" or start == 0 or not windows):
        windows.append((0, end))  # the head of the list, clipped to what is left
    return windows


def _rank_k_windows(count: int, window: int, step: int, depth: int) -> list[tuple[int, int]]:
    """Return (start, end) of the windows of Rank-K's loop, from `depth` down to the list's head."""
    windows = []
    for end in range(depth, 0, -step):
        first, last, _ = slice(end - window, end).indices(
            count
        )  # a negative start counts from the list's end
        if last - first > 1:
            windows.append((first, last))
        if end == window:
            break
    return windows


def slide(
    order: Sequence[int], windows: Sequence[tuple[int, int]], top: int | None = None, passes: int = 1
) -> Rounds:
    """Rank windows one after another, each on the order that the one before left; return the final order.

    Args:
        order: candidate positions as they are shown at first.
        windows: as `sliding_windows` gives them.
        top: ranks of the final list that have to be right. None: all.
        passes: how often the windows go over the list.
    """
    order = list(order)
    for final in [False] * (passes - 1) + [True]:
        for (start, end), (_, next_end) in pairwise([*windows, (0, 0)]):
            # Beyond what the next window takes over, only ranks within the top are read in the end.
            read = max(next_end, min(top or end, end)) if final else end
            if read > start:
                order[start:end] = yield from ranked(order[start:end], read - start)
    return order
