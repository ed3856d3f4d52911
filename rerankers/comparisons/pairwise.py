"""Pairwise ranking prompting: a chat model compares two passages at a time (arXiv 2306.17563).

Each pair is shown in both orders, because models favour a position; answers that contradict each other are a
tie, and a tie keeps the current order (section 3.1). The order comes from all pairs (3.2), from a heap sort
(3.2) or from sliding passes (3.3). Deviation: the heap settles the first places only, as later work does,
instead of all. Two further sorts make the calls of `liuqi6777/llm4ranking` at 91cffac and give its order.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Literal

from pydantic import validate_call

from rerankers.chat.conversation import ChatAnswer, ChatCall, Message, Talk, ask
from rerankers.chat.options import ComparisonOptions
from rerankers.chat.reranker import ChatReranker
from rerankers.comparisons.sorting import (
    best_by_pairs,
    heap_order,
    pair_bubble_order,
    points_order,
    set_bubble_order,
)
from rerankers.interface import Cost, Ranking, RerankRequest
from rerankers.text.labels import chosen, cut_passages, is_said, labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.stages import StageClock

_PROMPT = (
    'Given a query "{query}", which of the following two passages is more relevant to the query?\n\n'
    "{passages}\n\nOutput Passage A or Passage B:"
)


PairwiseMethod = Literal["sliding", "heap", "all-pairs", "bubble-llm4ranking", "heap-llm4ranking"]


class Pairwise(ChatReranker):
    """Pairwise ranking prompting (PRP) with a chat model.

    Args:
        chat: the model, its backend, and how much is compared; in experiment files these options stand beside
            the others.
        method: `sliding` passes from the tail to the head, each of which settles one place; `heap`; or
            `all-pairs`, whose calls do not depend on each other. `bubble-llm4ranking` and `heap-llm4ranking`
            make the calls of that code: passes that leave out a tail in order, and a heap of which the rest
            of the list is left as it is.
    """

    @validate_call
    def __init__(
        self,
        *,
        chat: ComparisonOptions,
        method: PairwiseMethod = "sliding",
    ) -> None:
        self._method = method
        self._options = chat
        super().__init__(chat)

    def _talk(self, request: RerankRequest, clock: StageClock) -> Talk[Ranking]:
        cost = Cost()
        with clock.stage("prompt", cost):
            texts = cut_passages(request, self._options.passage_words, cost.usage)

        def call(first: int, second: int) -> ChatCall:
            """Show two passages in this order."""
            with clock.stage("prompt", cost):
                passages = labelled([texts[first], texts[second]])
                text = _PROMPT.format(query=request.query, passages=passages)
            messages: list[Message] = [{"role": "user", "content": text}]
            return ChatCall(messages, self._options.max_new_tokens, cost, is_said)

        def read(answer: ChatAnswer) -> int | None:
            """Return which of the two the model prefers, 0 or 1; None if it does not say."""
            with clock.stage("parse", cost):
                return chosen(answer, 2, cost.usage)

        def wins(challenger: int, leader: int) -> Talk[bool]:
            """Ask in the current order, then in the other one if the first answer favours the challenger."""
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
        read: Callable[[ChatAnswer], int | None],
        best: Callable[[Sequence[int]], Talk[int]],
    ) -> Talk[list[int]]:
        """Sort by the method chosen."""
        top = self._options.top
        match self._method:
            case "heap":
                return (yield from heap_order(count, top, 2, best))
            case "heap-llm4ranking":
                return (yield from heap_order(count, top, 2, best, rest_as_left=True))
            case "bubble-llm4ranking":
                return (yield from set_bubble_order(count, top, 1, best, rest_as_left=True))
            case "sliding":
                return (yield from pair_bubble_order(count, top, best))
            case "all-pairs":
                pairs = list(combinations(range(count), 2))
                asked = [call(*shown) for pair in pairs for shown in (pair, pair[::-1])]
                answers = iter((yield asked) if asked else [])
                return points_order(
                    count, [(*pair, _result(read(next(answers)), read(next(answers)))) for pair in pairs]
                )


def _result(usual: int | None, swapped: int | None) -> int:
    """Return 1 if both answers favour the first passage, -1 if both favour the second, else 0.

    Args:
        usual: position preferred with the first passage shown first; None without an answer.
        swapped: position preferred with the first passage shown second.
    """
    if usual is None or swapped is None:
        return 0
    return swapped - usual
