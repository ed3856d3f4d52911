"""Sliding windows over a long candidate list, back to front (RankGPT, arXiv 2304.09542, section 4).

The window moves from the tail of the list to its head, so the best passages of the tail are carried along.
Both policies agree wherever the depth is aligned with the step; they differ at the head:

- `clipped`: the last window is clipped at the head (45 candidates, window 20, step 10: [25,45) [15,35) [5,25)
  [0,15)), so the head of the list is always compared.
- `reference`: the published code stops as soon as the next window would start below zero, so that the first
  5 of 45 candidates are never ranked. Kept to reproduce published numbers.
"""

from __future__ import annotations

import random
from typing import Literal

from rerankers.errors import InputError

WindowPolicy = Literal["clipped", "reference"]
InitialOrder = Literal["given", "shuffled", "reversed"]


def sliding_windows(
    count: int, window: int, step: int, policy: WindowPolicy = "clipped"
) -> list[tuple[int, int]]:
    """Half-open positions (start, end) of each window over `count` candidates, in the order they are ranked.

    One candidate or none needs no window. A `window` of 0 means one window over all candidates (`full`).

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
    windows = []
    start, end = count - window, count
    while start > 0:
        windows.append((start, end))
        start, end = start - step, end - step
    if end > 1 and (policy == "clipped" or start == 0 or not windows):
        windows.append((0, end))  # the head of the list, clipped to what is left
    return windows


def initial_order(count: int, how: InitialOrder, seed: int, query_id: str) -> list[int]:
    """Candidate positions in the order that the windows start from; `shuffled` by seed and query id."""
    order = list(range(count))
    if how == "reversed":
        order.reverse()
    elif how == "shuffled":
        random.Random(f"{seed}:{query_id}").shuffle(order)  # noqa: S311 - no secret
    return order
