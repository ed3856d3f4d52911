"""Top-down partitioning: partitions of the list are ranked against a pivot (TDPart, arXiv 2405.14589).

The first window is ranked. The passage at rank `pivot_rank` becomes the pivot, and the passages before it are
candidates. Every further partition of the list is ranked together with the pivot, and the passages that come
out before the pivot join the candidates, until `buffer` of them are found. The same is done with the
candidates until they fit into one window, which a last call ranks.

Deviations of `top-down` from the published code, `top-down-reference`, whose calls and order are copied:

- The partitions of a round run side by side. The published code ranks them one after another, so it can stop
  once the buffer is full. It never looks at the passages after that point; here they have been compared, and
  those that beat the pivot stand before it.
- Passages that a later round drops stay before those that an earlier round dropped. The published code puts
  them at the very end of the list, although they had beaten the pivot of the first round.
- If no partition holds a better passage, the candidates are in order already, and no last call is made. The
  published code means to do this, and compares with one less than the number of candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.listwise.windows.rounds import Window, ranked, ranked_side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.listwise.windows.rounds import Rounds, Steps


def rank_top_down(
    order: Sequence[int], window: int, pivot_rank: int, buffer: int, *, as_published: bool = False
) -> Rounds:
    """Rank candidates by partitions against pivots, and return their positions, best first.

    Args:
        order: candidate positions as they are shown at first.
        window: passages in a call, the pivot included.
        pivot_rank: rank of the pivot in the first window, 2 to `window` - 1.
        buffer: how many candidates a round keeps.
        as_published: make the calls of the published code, and return its order.
    """
    candidates, behind = list(order), list[int]()
    while len(candidates) >= window:
        better, dropped, is_settled = yield from _partition(
            candidates, window, pivot_rank, buffer, as_published
        )
        behind = [*behind, *dropped] if as_published else [*dropped, *behind]
        if is_settled and not as_published:
            return better + behind
        candidates = better  # fewer in any case: the pivot is dropped
    return (yield from ranked(candidates)) + behind


def _partition(
    order: list[int], window: int, pivot_rank: int, buffer: int, one_by_one: bool
) -> Steps[tuple[list[int], list[int], bool]]:
    """Rank the partitions of one round against its pivot, and split the passages into better and other ones.

    Args:
        order: positions of the passages in this round.
        window, pivot_rank, buffer: see `rank_top_down`.
        one_by_one: stop as soon as the buffer is full.

    Returns:
        At most `buffer` passages that beat the pivot; the others, the pivot among them; and whether the
        better
        ones are in order already.
    """
    first = yield from ranked(order[:window])
    better, pivot, worse = first[: pivot_rank - 1], first[pivot_rank - 1], first[pivot_rank:]
    parts = [order[start : start + window - 1] for start in range(window, len(order), window - 1)]
    while parts and len(better) < buffer:
        batch = parts[:1] if one_by_one else parts
        parts = parts[len(batch) :]
        orders = yield from ranked_side_by_side([Window([pivot, *part], len(part) + 1) for part in batch])
        for ranking in orders:
            place = ranking.index(pivot)
            better += ranking[:place]
            worse += ranking[place + 1 :]
    unseen = [i for part in parts for i in part]
    is_settled = len(better) == pivot_rank - 1
    return better[:buffer], [*better[buffer:], pivot, *worse, *unseen], is_settled
