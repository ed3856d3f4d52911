"""The order in which a listwise method is first shown its candidates."""

from __future__ import annotations

import random
from typing import Literal

InitialOrder = Literal["given", "shuffled", "reversed"]


def initial_order(count: int, how: InitialOrder, seed: int, query_id: str) -> list[int]:
    """Return candidate positions 0 to `count` - 1 in the order that a window policy starts from.

    Args:
        count: how many candidates.
        how: as given, reversed, or shuffled by seed and query id.
        seed: of the shuffle.
        query_id: id of the query, so that each query has a shuffle of its own.
    """
    order = list(range(count))
    if how == "reversed":
        order.reverse()
    elif how == "shuffled":
        random.Random(f"{seed}:{query_id}").shuffle(order)  # noqa: S311 - no secret
    return order
