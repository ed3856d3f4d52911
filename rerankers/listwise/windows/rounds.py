"""Rounds of windows: the protocol between a window policy and a listwise method.

A policy is a generator. It yields a round: windows that do not depend on each other. It is sent one order for
each of them, and returns the final order. A method therefore ranks the windows of a round side by side and
knows nothing of the policy, and a policy knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeVar


class Window(NamedTuple):
    """A window: passages that a method ranks in one call.

    Attributes:
        positions: of the candidates, in the order in which the prompt shows them; at least two.
        ranks: how many of the first ranks the policy reads; the passages behind them may come in any order.
    """

    positions: list[int]
    ranks: int


T = TypeVar("T")
Steps = Generator[list[Window], Sequence[Sequence[int]], T]
"""A part of a policy: yields rounds, and is sent the candidate positions of each window, best first."""

Rounds = Steps[list[int]]
"""A policy at work on one query; returns all candidate positions, best first."""


def ranked(shown: Sequence[int], ranks: int | None = None) -> Steps[list[int]]:
    """Request the order of one window in a policy (`yield from`), and return it; one passage needs no call.

    Args:
        shown: candidate positions in the order shown.
        ranks: how many of the first ranks are read; None for all.
    """
    [order] = yield from ranked_side_by_side([Window(list(shown), len(shown) if ranks is None else ranks)])
    return order


def ranked_side_by_side(windows: Sequence[Window]) -> Steps[list[list[int]]]:
    """Request the orders of independent windows as one round, and return them.

    A window of one needs no call.
    """
    nontrivial = [window for window in windows if len(window.positions) > 1]
    orders = iter((yield nontrivial) if nontrivial else [])
    return [list(next(orders) if len(window.positions) > 1 else window.positions) for window in windows]


class RunningPolicy:
    """A window policy at work on one query, which a method drives.

    Attributes:
        windows: the round to rank next; empty once the policy has finished.
        order: all candidate positions, best first, once it has finished.
    """

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self.windows: list[Window] = []
        self.order: list[int] = []
        self._go_on(None)

    def send(self, orders: Sequence[Sequence[int]]) -> None:
        """Give the policy the order of each window of its round; `windows` is then the next round."""
        self._go_on(orders)

    def _go_on(self, orders: Sequence[Sequence[int]] | None) -> None:
        """Run the policy up to its next round, or to its end; None starts it."""
        try:
            self.windows = next(self._rounds) if orders is None else self._rounds.send(orders)
        except StopIteration as finished:
            self.windows, self.order = [], finished.value


def run_rounds(rounds: Rounds, rank: Callable[[list[Window]], Sequence[Sequence[int]]]) -> list[int]:
    """Drive a policy to its end, and return its final order.

    `rank` returns the orders of a round's windows.
    """
    policy = RunningPolicy(rounds)
    while policy.windows:
        policy.send(rank(policy.windows))
    return policy.order
