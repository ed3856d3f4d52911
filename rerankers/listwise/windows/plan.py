"""The window policy that a method's options name, for one query after another."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerankers.listwise.windows.initial import initial_order
from rerankers.listwise.windows.rounds import run_rounds
from rerankers.listwise.windows.sliding import RANK_K_DEPTH, slide, sliding_windows
from rerankers.listwise.windows.sorts import bubble_sort, heap_sort, insertion_sort
from rerankers.listwise.windows.top_down import rank_top_down
from rerankers.listwise.windows.tournament import rank_by_group_tournaments, rank_by_tournaments

if TYPE_CHECKING:
    from rerankers.listwise.windows.rounds import Rounds, Window
    from rerankers.listwise.windows.sliding import WindowPolicy
    from rerankers.methods.windows import WindowOptions

_TOP = 10  # ranks that sorts settle, as in their papers
_ENDS: dict[str, WindowPolicy] = {
    "sliding": "clipped",
    "full": "clipped",
    "sliding-reference": "reference",
    "sliding-aligned": "aligned",
    "sliding-rank-k": "rank-k",
    "first-window": "first",
}
"""Where the windows of a sliding policy begin and end."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """A window policy with its settings, from which each query gets its rounds.

    Attributes:
        options: policy, window and step.
        top: ranks of the final list that have to be right. None: all, or ten in a sort.
        passes: how often a sliding window goes over the list.
    """

    options: WindowOptions
    top: int | None = None
    passes: int = 1

    def rounds(self, count: int, query_id: str = "") -> Rounds:
        """Return the policy's generator of rounds for a query with `count` candidates."""
        options = self.options
        order = initial_order(count, options.initial_order, options.seed, query_id)
        window, top = options.window, self.top or _TOP
        shuffle_seed = f"{options.seed}:{query_id}"
        match options.window_policy:
            case "top-down" | "top-down-reference":
                as_published = options.window_policy == "top-down-reference"
                pivot_rank = options.pivot_rank or max(2, window // 2)
                buffer = options.buffer or window
                return rank_top_down(order, window, pivot_rank, buffer, as_published=as_published)
            case "tournament":
                return rank_by_tournaments(order, window, options.tournaments, shuffle_seed)
            case "tournament-llm4ranking":
                return rank_by_group_tournaments(
                    order, window, options.tournaments, shuffle_seed, stage_weight=options.stage_weight
                )
            case "heap-sort":
                return heap_sort(order, window, top)
            case "bubble-sort":
                return bubble_sort(order, window, top)
            case "insertion-sort":
                return insertion_sort(order, window, top)
            case _:
                return slide(order, self.sliding(count), self.top, self.passes)

    def sliding(self, count: int) -> list[tuple[int, int]]:
        """Return (start, end) of a sliding policy's windows over `count` candidates, as they are ranked."""
        options = self.options
        window = 0 if options.window_policy == "full" else options.window
        depth = options.windows_from or RANK_K_DEPTH
        return sliding_windows(count, window, options.step, _ENDS[options.window_policy], depth)

    def expected(self, count: int) -> list[list[Window]]:
        """Return the rounds that `count` candidates take if relevant ones are spread at random.

        Exact for policies whose windows do not depend on answers; typical for the others.
        """
        relevance = list(range(count))
        random.Random(0).shuffle(relevance)  # noqa: S311 - no secret
        rounds: list[list[Window]] = []

        def rank(windows: list[Window]) -> list[list[int]]:
            """Keep the windows of a round, and return their orders by a random relevance."""
            rounds.append(windows)
            return [sorted(window.positions, key=lambda i: relevance[i]) for window in windows]

        run_rounds(self.rounds(count), rank)
        return rounds
