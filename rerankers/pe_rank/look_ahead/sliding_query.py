"""The sliding windows of one query, ranked in few forward passes: each pass also drafts the next window.

A forward pass of few tokens takes as long as reading the model's weights, so tokens up to some number are
free. Each pass runs one `TokenTree` of

- the likeliest continuations of the present window's ranks, as branches;
- the prompt of the next window, for the likeliest orders that the present one may end in, and behind it each
  of its passages as first rank, or its likeliest ranks.

Then the sequence of step-by-step greedy decoding is followed through the tree, over the end of a window into
the next one's prompt, as far as there are nodes: each rank is the best by the scores of its own sequence. So
the answers are those of step-by-step decoding, and each pass decides one rank more at least.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from rerankers.pe_rank.look_ahead.drafts import RankDrafts, ScoreMemory, best_open
from rerankers.pe_rank.look_ahead.token_tree import ROOT, passage_item

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from rerankers.pe_rank.look_ahead.token_tree import TokenTree
    from rerankers.pe_rank.prompt import Prompt

_ORDERS = 4  # most orders for which the next window's prompt is run in one pass


class SlidingWindow(NamedTuple):
    """A window over ranks `start` to `end` - 1 of the list, decoded to `depth` ranks."""

    start: int
    end: int
    depth: int


class SlidingQuery:
    """The state of one query between forward passes.

    Args:
        tree: is emptied but for the start of the first prompt.
        windows: tail first.
        prompt_of: returns the query's prompt for a number of passages without text.
        projected: the passages in the input space, (candidates, dimension).
        first_of: for each passage the first one with the same text, (candidates,); None if all texts differ.
        free_tokens: tokens that take as long as one in a forward pass.

    Attributes:
        order: candidate positions, best first so far.
        passes: forward passes so far.
    """

    def __init__(
        self,
        tree: TokenTree,
        windows: Sequence[SlidingWindow],
        prompt_of: Callable[[int], Prompt],
        projected: torch.Tensor,
        first_of: torch.Tensor | None,
        free_tokens: int,
    ) -> None:
        self._tree, self._windows, self._prompt_of = tree, windows, prompt_of
        self._projected, self._first_of, self._free_tokens = projected, first_of, free_tokens
        self._memory = ScoreMemory()
        self._drafts = RankDrafts(tree, self._memory)
        self.order = list(range(len(projected)))
        self.passes = 0
        self._at = 0  # the present window
        self._node: int | None = None  # of the last rank that has one; None if its prompt has not been run
        self._ranks: list[int] = []  # decided ones of the present window; the last has no node
        prompt = self._prompt(windows[0].start, windows[0].end, self.order)
        tree.keep(tree.path(takewhile(lambda item: item >= 0, prompt)))  # passages are another query's

    @property
    def is_over(self) -> bool:
        """True once all windows are ranked."""
        return self._at == len(self._windows)

    @property
    def is_at_a_prompt(self) -> bool:
        """True if the next pass has to run the prompt of the present window."""
        return self._node is None

    def run_pass(self) -> None:
        """Run one forward pass, and decide all ranks that follow from it. The host waits for it once."""
        window = self._windows[self._at]
        shown = self.order[window.start : window.end]
        prompt = self._prompt(window.start, window.end, self.order)
        ends: dict[int, list[int]] = {}  # last nodes of prompts by window, likelier orders first
        if self._node is None:
            ends[self._at] = [self._add(prompt)]
            self._draft_first_ranks(ends[self._at][0], self._at, shown)
        else:
            most = max(window.depth, min(self._free_tokens * 3 // 8, self._free_tokens - self._next_tokens()))
            complete = self._drafts.grow(self._node, self._ranks, shown, window.depth, most)
            if self._at + 1 < len(self._windows):
                ends[self._at + 1] = self._add_next_prompts(complete)
        run = self._tree.run(self._projected, self._first_of)
        self.passes += 1
        self._remember(run, len(prompt), ends)
        self._decide()

    def _prompt(self, start: int, end: int, order: Sequence[int]) -> list[int]:
        """Return the items of the prompt of the window over ranks `start` to `end` - 1 of an order."""
        prompt = self._prompt_of(end - start)
        items = list(prompt.token_ids)
        for slot, passage in zip(prompt.placeholders, order[start:end], strict=True):
            items[slot] = passage_item(passage)
        return items

    def _add(self, items: Sequence[int]) -> int:
        """Add a sequence to the tree, and return its last node."""
        node = ROOT
        for item in items:
            node = self._tree.add(node, item)
        return node

    def _room(self) -> int:
        """Return how many more tokens are free in the next pass."""
        return self._free_tokens - (self._tree.added - self._tree.ran)

    def _next_tokens(self) -> int:
        """Return about how many tokens the next window's prompt and its passages as first ranks take."""
        if self._at + 1 == len(self._windows):
            return 0
        start, end, _ = self._windows[self._at + 1]
        items = self._prompt(start, end, self.order)
        return len(items) - len(self._tree.path(items)) + end - start

    def _draft_first_ranks(self, end: int, at: int, shown: Sequence[int]) -> None:
        """Add what may follow the prompt of a window: each passage as first rank, and likely ranks.

        Args:
            end: the prompt's last node.
            at: the window's number.
            shown: its passages.
        """
        if self._room() >= len(shown):
            for passage in shown:
                self._tree.add(end, passage_item(passage))
        first, depth = self._memory.first(at), self._windows[at].depth
        if self._room() > 0 and (first is not None or end < self._tree.ran):
            most = min(self._room(), self._free_tokens // 8)
            self._drafts.grow(end, (), shown, depth, most, first)

    def _add_next_prompts(self, complete: Sequence[tuple[int, ...]]) -> list[int]:
        """Add the next window's prompt for likely orders of the present one, as long as tokens are free.

        Args:
            complete: ranks of the present window, likeliest first.

        Returns:
            the last node of each prompt.
        """
        present, following = self._windows[self._at], self._windows[self._at + 1]
        ends = []
        for ranks in complete[:_ORDERS]:
            order = self._reordered(present, ranks)
            items = self._prompt(following.start, following.end, order)
            if len(items) - len(self._tree.path(items)) > self._room():
                break
            ends.append(self._add(items))
            if len(ends) == 1:
                self._draft_first_ranks(ends[0], self._at + 1, order[following.start : following.end])
        return ends

    def _reordered(self, window: SlidingWindow, ranks: Sequence[int]) -> list[int]:
        """Return the order of all candidates after a window was ranked so; the rest keeps its order."""
        shown = self.order[window.start : window.end]
        order = list(self.order)
        order[window.start : window.end] = [*ranks, *(passage for passage in shown if passage not in ranks)]
        return order

    def _remember(self, run: range, prompt_length: int, ends: dict[int, list[int]]) -> None:
        """Store the scores of a pass for later drafts, those of likelier branches last.

        Args:
            run: the nodes that the pass ran, in which likelier branches come first.
            prompt_length: items of the prompt of a window.
            ends: last nodes of prompts by window, likelier ones first.
        """
        for node in reversed(run):
            item, position = self._tree.items[node], self._tree.positions[node]
            if item < 0 and position >= prompt_length:
                is_leading = position == prompt_length
                self._memory.keep(-1 - item, self._tree.scores(node), is_leading=is_leading)
        for at, nodes in ends.items():
            if nodes:
                self._memory.keep_first(at, self._tree.scores(nodes[0]))

    def _decide(self) -> None:
        """Follow the greedy sequence through the tree as far as it has been run, over any end of a window."""
        while not self.is_over:
            window = self._windows[self._at]
            items = self._prompt(window.start, window.end, self.order)
            path = self._tree.path(items)
            if len(path) < len(items):
                self._node = None
                return
            self._node, self._ranks = path[-1], []
            shown = self.order[window.start : window.end]
            while True:
                self._ranks.append(best_open(self._tree.scores(self._node), shown, self._ranks))
                if len(self._ranks) == window.depth:
                    break
                child = self._tree.child(self._node, passage_item(self._ranks[-1]))
                if child is None:
                    return
                self._node = child
            self.order = self._reordered(window, self._ranks)
            self._at += 1
            self._drop_what_is_over()

    def _drop_what_is_over(self) -> None:
        """Remove all nodes but those of the present window's prompt and what stands behind it."""
        if self.is_over:
            return
        window = self._windows[self._at]
        items = self._prompt(window.start, window.end, self.order)
        path = self._tree.path(items)
        behind = self._tree.below(path[-1]) if len(path) == len(items) else path[-1:]
        self._tree.keep([*path[:-1], *behind])
