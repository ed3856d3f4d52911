"""Drafts of the ranks of a window: the most likely continuations, as branches of a token tree.

What the scores right after a passage will be is estimated from the scores seen right after it in other
sequences (`ScoreMemory`). The further a passage's estimated score lies below the best open one's, the less
likely it is to be ranked next; branches are added in the order of the sum of these distances, likeliest
first (best-first tree drafts, arXiv 2406.16858, section 4).
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from rerankers.pe_rank.look_ahead.token_tree import passage_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.pe_rank.look_ahead.token_tree import Scores, TokenTree

_SCALE = 0.08  # of a row's standard deviation: the distance that makes a branch less likely by one unit
_STEP = 0.2  # units by which a branch is less likely for each estimated rank
_BRANCHES = 6  # most continuations of a branch


class ScoreMemory:
    """The scores last seen right after the prompts of a query's windows and right after its passages."""

    def __init__(self) -> None:
        self._first: dict[int, Scores] = {}  # by window, right after its prompt
        self._leading: dict[int, Scores] = {}  # by passage, where it has the first rank
        self._later: dict[int, Scores] = {}  # by passage, where it has a later rank

    def keep_first(self, window: int, scores: Scores) -> None:
        """Store the scores right after a window's prompt, whatever passages it shows."""
        self._first[window] = scores

    def keep(self, passage: int, scores: Scores, *, is_leading: bool) -> None:
        """Store the scores right after a passage, which has the first rank or a later one."""
        (self._leading if is_leading else self._later)[passage] = scores

    def first(self, window: int) -> Scores | None:
        """Return an estimate of the scores for the first rank of a window; None if nothing is known."""
        return self._first.get(window)

    def after(self, passage: int) -> Scores | None:
        """Return an estimate of the scores right after a passage: the mean of both ranks' scores.

        None if it has not been run.
        """
        leading, later = self._leading.get(passage), self._later.get(passage)
        if leading is None or later is None:
            return later if leading is None else leading
        return (leading + later) / 2


class RankDrafts:
    """A drafter of the ranks of windows.

    Args:
        tree: gets the branches.
        memory: scores of earlier passes.
    """

    def __init__(self, tree: TokenTree, memory: ScoreMemory) -> None:
        self._tree, self._memory = tree, memory

    def grow(
        self,
        node: int,
        ranks: Sequence[int],
        shown: Sequence[int],
        depth: int,
        most: int,
        first: Scores | None = None,
    ) -> list[tuple[int, ...]]:
        """Add the likeliest continuations of a window's ranks to the tree.

        Args:
            node: that of the last rank that has one, or of the prompt's end.
            ranks: those decided so far; the last one has no node yet, unless there are none.
            shown: the passages of the window.
            depth: ranks in all.
            most: nodes to add at most.
            first: an estimate of the scores for the first rank, where the prompt has not been run.

        Returns:
            complete sequences of `depth` ranks, likeliest first.
        """
        numbers, complete, limit = count(), [], self._tree.added + most
        estimates: dict[int, list[tuple[float, int]]] = {}
        # distance; number, so that the earlier of equals comes first; node of the last rank but one; ranks
        branches: list[tuple[float, int, int, tuple[int, ...]]] = [(0.0, next(numbers), node, tuple(ranks))]
        while branches:
            total, _, node, branch = heapq.heappop(branches)
            if len(branch) == depth:
                complete.append(branch)
                continue
            if branch:
                item = passage_item(branch[-1])
                known = self._tree.child(node, item)
                if known is None and self._tree.added >= limit:
                    continue
                node = self._tree.add(node, item) if known is None else known
            for distance, passage in self._next(node, branch, shown, estimates, first):
                heapq.heappush(branches, (total + distance, next(numbers), node, (*branch, passage)))
        return complete

    def _next(
        self,
        node: int,
        ranks: tuple[int, ...],
        shown: Sequence[int],
        estimates: dict[int, list[tuple[float, int]]],
        first: Scores | None,
    ) -> list[tuple[float, int]]:
        """Return the passages that may follow a branch, with their distances from the likeliest.

        After a node that has been run there is one; after another one, a few by the estimate.

        Args:
            node: that of the branch's last rank, or of the prompt's end.
            ranks: of the branch.
            shown: the passages of the window.
            estimates: passages by estimated score, best first, by the passage before them; filled on demand.
            first: see `grow`.
        """
        if node < self._tree.ran:
            return [(0.0, best_open(self._tree.scores(node), shown, ranks))]
        last = ranks[-1] if ranks else -1
        if last not in estimates:
            scores = self._memory.after(last) if ranks else first
            estimates[last] = [] if scores is None else _by_score(scores, shown)
        following = [pair for pair in estimates[last] if pair[1] not in ranks][:_BRANCHES]
        return [(following[0][0] - score + _STEP, passage) for score, passage in following]


def best_open(scores: Scores, shown: Sequence[int], ranks: Sequence[int]) -> int:
    """Return the passage with the best score among those shown and not ranked; the first one of equals."""
    is_open = [passage for passage in shown if passage not in ranks]
    return is_open[int(np.argmax(scores[is_open]))]


def _by_score(scores: Scores, shown: Sequence[int]) -> list[tuple[float, int]]:
    """Return the passages shown with their scores in units of distance, best first."""
    row = scores[list(shown)]
    row = row / max(_SCALE * float(row.std()), 1e-9)
    return [(float(row[place]), shown[place]) for place in np.argsort(-row, kind="stable")]
