"""Pairwise ranking prompting: a chat model compares two passages at a time (arXiv 2306.17563).

Each pair is shown in both orders, because models favour a position; answers that contradict each other are a
tie, and a tie keeps the current order (section 3.1). The order comes from all pairs (3.2), from a heap sort
(3.2) or from sliding passes (3.3). Deviation: the heap settles the first places only, as later work does,
instead of all. Two further sorts make the calls of `liuqi6777/llm4ranking` at 91cffac and give its order.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from rerankers.chat.conversation import ChatCall, ChatCompletion, Conversation, Message, ask
from rerankers.chat.reranker import ChatReranker
from rerankers.comparisons.sorting import best_by_pairs, points_order
from rerankers.interface import Cost, Ranking, RerankRequest
from rerankers.methods.comparisons.pairwise import PROMPT, pair_sort
from rerankers.text.labels import cut_passages, has_label, label_passages, read_choice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.methods.comparisons.pairwise import PairwiseOptions
    from rerankers.stages import StageClock


class Pairwise(ChatReranker):
    """A reranker that asks a chat model which of two passages is more relevant, and sorts by that (PRP)."""

    def __init__(self, options: PairwiseOptions) -> None:
        self._options = options
        super().__init__(options)

    def _conversation(self, request: RerankRequest, clock: StageClock) -> Conversation[Ranking]:
        cost = Cost()
        with clock.stage("prompt", cost):
            texts = cut_passages(request, self._options.passage_words, cost.usage)

        def call(first: int, second: int) -> ChatCall:
            """Return the call that shows two passages, given by candidate position, in this order."""
            with clock.stage("prompt", cost):
                passages = label_passages([texts[first], texts[second]])
                text = PROMPT.format(query=request.query, passages=passages)
            messages: list[Message] = [{"role": "user", "content": text}]
            return ChatCall(messages, self._options.max_new_tokens, cost, has_label)

        def read(answer: ChatCompletion) -> int | None:
            """Return which of the two passages a model output prefers, 0 or 1; None for neither."""
            with clock.stage("parse", cost):
                return read_choice(answer, 2, cost.usage)

        def wins(challenger: int, leader: int) -> Conversation[bool]:
            """Return whether the model prefers the challenger in both display orders of the two."""
            first = yield from ask(call(leader, challenger))
            if read(first) != 1:
                return False
            second = yield from ask(call(challenger, leader))
            return read(second) == 0

        order = yield from self._sorted(len(texts), call, read, best_by_pairs(wins))
        with clock.stage("order", cost):
            return Ranking.of(request, order, cost)

    def _sorted(
        self,
        count: int,
        call: Callable[[int, int], ChatCall],
        read: Callable[[ChatCompletion], int | None],
        best: Callable[[Sequence[int]], Conversation[int]],
    ) -> Conversation[list[int]]:
        """Return all candidate positions, best first, by the sort that the option `method` names.

        Args:
            count: number of candidates.
            call: makes the call that compares two candidates, shown in this order.
            read: reads the position (0 or 1) that a model output prefers.
            best: comparator for the sorts that stop once the top ranks are known.
        """
        if self._options.method != "all-pairs":
            return (yield from pair_sort(self._options.method, count, self._options.top, best))
        pairs = list(combinations(range(count), 2))
        calls = [call(*order) for pair in pairs for order in (pair, pair[::-1])]
        answers = iter((yield calls) if calls else [])
        return points_order(
            count, [(*pair, _result(read(next(answers)), read(next(answers)))) for pair in pairs]
        )


def _result(usual: int | None, swapped: int | None) -> int:
    """Return 1 if both model outputs favour the first passage, -1 if both favour the second, else 0 (a tie).

    Args:
        usual: position preferred with the first passage shown first; None if the output names neither.
        swapped: position preferred with the second passage shown first.
    """
    if usual is None or swapped is None:
        return 0
    return swapped - usual
