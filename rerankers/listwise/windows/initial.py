"""The order in which candidates are shown at first."""

from __future__ import annotations

import random
from typing import Literal

InitialOrder = Literal["given", "shuffled", "reversed"]


def initial_order(count: int, how: InitialOrder, seed: int, query_id: str) -> list[int]:
    """Return candidate positions in the order that a policy starts from; `shuffled` by seed and query id."""
    order = list(range(count))
    if how == "reversed":
        order.reverse()
    elif how == "shuffled":
        random.Random(f"{seed}:{query_id}").shuffle(order)  # noqa: S311 - no secret
    return order
