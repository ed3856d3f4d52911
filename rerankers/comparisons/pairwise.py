"""Pairwise ranking prompting: a chat model compares two passages at a time (arXiv 2306.17563).

Each pair is shown in both orders, because models favour a position; answers that contradict each other are a
tie, and a tie keeps the current order (section 3.1). The order comes from sliding passes (3.3) or from a heap
sort (3.2). Deviation: the heap settles the first places only, as later work does, instead of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import validate_call

from rerankers.chat.conversation import ChatCall, Message, Talk, ask
from rerankers.chat.options import ComparisonOptions
from rerankers.chat.reranker import ChatReranker
from rerankers.comparisons.sorting import heap_order, pair_bubble_order
from rerankers.interface import Cost, Ranking, RerankRequest
from rerankers.text.labels import chosen, cut_passages, is_said, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.stages import StageClock

_PROMPT = (
    'Given a query "{query}", which of the following two passages is more relevant to the query?\n\n'
    "{passages}\n\nOutput Passage A or Passage B:"
)


class Pairwise(ChatReranker):
    """Pairwise ranking prompting (PRP) with a chat model.

    Args:
        chat: the model, its backend, and how much is compared; in experiment files these options stand beside
            the others.
        method: `sliding` passes from the tail to the head, each of which settles one place, or `heap`.
    """

    @validate_call
    def __init__(
        self,
        *,
        chat: ComparisonOptions,
        method: Literal["sliding", "heap"] = "sliding",
    ) -> None:
        self._method = method
        self._options = chat
        super().__init__(chat)

    def _talk(self, request: RerankRequest, clock: StageClock) -> Talk[Ranking]:
        cost = Cost()
        with clock.stage("prompt", cost):
            texts = cut_passages(request, self._options.passage_words, cost.usage)

        def asked(first: int, second: int) -> Talk[int | None]:
            """Which of the two the model prefers, shown in this order; None if it does not say."""
            with clock.stage("prompt", cost):
                passages = labelled([texts[first], texts[second]])
                text = _PROMPT.format(query=request.query, passages=passages)
            messages: list[Message] = [{"role": "user", "content": text}]
            answer = yield from ask(ChatCall(messages, self._options.max_new_tokens, cost, is_said))
            with clock.stage("parse", cost):
                position = chosen(answer, 2, cost.usage)
                return None if position is None else (first, second)[position]

        def best(items: Sequence[int]) -> Talk[int]:
            leader = 0
            for challenger in range(1, len(items)):
                pair = items[leader], items[challenger]
                if (yield from asked(*pair)) == pair[1] and (yield from asked(*reversed(pair))) == pair[1]:
                    leader = challenger
            return leader

        if self._method == "heap":
            order = yield from heap_order(len(texts), self._options.top, 2, best)
        else:
            order = yield from pair_bubble_order(len(texts), self._options.top, best)
        with clock.stage("order", cost):
            return Ranking.of(request, order, cost)
