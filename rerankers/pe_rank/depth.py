"""Lossless depth: the number of ranks to decode in each window for the top k of the final list.

Windows run from the tail to the head of the list. Let window j cover positions [s_j, e_j), and let the next
one end at e_(j+1); it reads positions s_j .. e_(j+1)-1 again, and no later window reaches further down. After
window j, its positions split into three:

- those below e_(j+1) are input of the next window. Its prompt shows passages in order, so their *order*
  counts, not only which they are: each must be exactly what full decoding gives;
- those from e_(j+1) on are final. Each must be exact if it is below k, because it is part of the answer;
- the others are final and outside the answer: no later window reads them, so no rank of the top k depends
  on their order.

Ranks are decoded from the best down and each depends on those before it alone, so window j needs its first

    max(e_(j+1), min(k, e_j)) - s_j        ranks, and the last window    min(k, e_m) - s_m    (s_m = 0),

never fewer than none. The set of passages that are not decoded is exact in any case; they keep their input
order. A window that needs no rank at all is not run. With window 20 and step 10 that is 10 ranks a window.
The rule holds for clipped windows, for k beyond the first window, and for a step as wide as the window. It
requires of the model only that it is deterministic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def lossless_depths(windows: Sequence[tuple[int, int]], top_k: int | None) -> list[int]:
    """Return the number of ranks to decode in each window, in the order in which the windows run.

    Args:
        windows: half-open positions (start, end), tail first, as `rerankers.listwise.windows` gives them.
        top_k: the number of ranks of the final list that have to be exact; None for all.

    Returns:
        A depth in 0..(end - start) for each window.
    """
    depths = []
    for j, (start, end) in enumerate(windows):
        read_again = windows[j + 1][1] if j + 1 < len(windows) else 0
        answer = end if top_k is None else min(top_k, end)
        depths.append(max(0, max(read_again, answer) - start))
    return depths
