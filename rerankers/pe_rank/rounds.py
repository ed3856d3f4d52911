"""The rounds of window policies whose windows depend on earlier results, for many queries in batches.

Sliding windows show every query the same ranks at the same time, and do not need this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rerankers.encoders.transfer import to_device
from rerankers.listwise.windows import RunningPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rerankers.listwise.windows import Window, WindowPlan
    from rerankers.pe_rank.query_batch import QueryBatch


def rank_in_rounds(
    run: QueryBatch,
    plan: WindowPlan,
    batch_size: int,
    rank: Callable[[QueryBatch, torch.Tensor, int], torch.Tensor],
) -> list[list[int]]:
    """Return the order of each query's candidates by a window policy; windows of a round run in batches.

    Args:
        run: the queries.
        plan: the policy.
        batch_size: most windows in a batch.
        rank: takes queries, one a row, the candidate positions shown of each (rows, n), and a decoding depth;
            returns the positions in order, (rows, n).

    Returns:
        Candidate positions, best first, by query.
    """
    with run.clock.stage("order", *run.costs):
        count = len(run.requests[0].candidates)
        policies = [RunningPolicy(plan.rounds(count, request.query_id)) for request in run.requests]
    while windows := [(row, window) for row, policy in enumerate(policies) for window in policy.windows]:
        orders: dict[int, list[int]] = {}
        for batch in _batches([window for _, window in windows], batch_size):
            passages = torch.tensor([windows[place][1].positions for place in batch])  # (rows, n)
            rows = run.rows([windows[place][0] for place in batch])
            ranked = rank(rows, to_device(passages, run.order.device), _depth(windows[batch[0]][1]))
            orders.update(zip(batch, ranked.tolist(), strict=True))
        with run.clock.stage("order", *run.costs):
            window_orders = iter([orders[place] for place in range(len(windows))])
            for policy, cost in zip(policies, run.costs, strict=True):
                if policy.windows:
                    cost.usage.sequential_calls += 1
                    policy.send([next(window_orders) for _ in policy.windows])
    return [policy.order for policy in policies]


def _depth(window: Window) -> int:
    """Return the number of ranks to decode in a window; the last passage needs no decoding."""
    return min(window.ranks, len(window.positions) - 1)


def _batches(windows: Sequence[Window], batch_size: int) -> Iterator[list[int]]:
    """Yield batches of windows with equal numbers of passages and equal depth, as positions in `windows`.

    Each has at most `batch_size` windows.
    """
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, window in enumerate(windows):
        by_size.setdefault((len(window.positions), _depth(window)), []).append(place)
    for places in by_size.values():
        for start in range(0, len(places), batch_size):
            yield places[start : start + batch_size]
