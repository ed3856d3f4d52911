"""Setwise prompting: a chat model selects the best of a few passages (arXiv 2310.09497).

The selections drive a heap sort or a bubble sort (section 3), or the insertion sort that
`LeonPeric/llm-rankers` adds. They settle the first ranks, with the calls of the published code. Of the
paper's two ways to read a selection, this is the generated label; an answer without one keeps the current
order. The paper cuts passages after 128 tokens; here they are cut after words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.chat.conversation import ChatCall, Conversation, Message, ask
from rerankers.chat.reranker import ChatReranker
from rerankers.interface import Cost, Ranking, RerankRequest
from rerankers.methods.comparisons.setwise import PROMPT, set_sort
from rerankers.text.labels import cut_passages, has_label, label_passages, read_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.comparisons.setwise import SetwiseOptions
    from rerankers.stages import StageClock


class Setwise(ChatReranker):
    """A reranker that asks a chat model for the best of a few passages, and sorts by its answers."""

    def __init__(self, options: SetwiseOptions) -> None:
        self._options = options
        super().__init__(options)

    def _conversation(self, request: RerankRequest, clock: StageClock) -> Conversation[Ranking]:
        cost = Cost()
        with clock.stage("prompt", cost):
            texts = cut_passages(request, self._options.passage_words, cost.usage)

        def best(items: Sequence[int]) -> Conversation[int]:
            """Return the place in `items`, candidate positions, of the passage the model selects; else 0."""
            with clock.stage("prompt", cost):
                passages = label_passages([texts[item] for item in items])
                text = PROMPT.format(query=request.query, passages=passages)
            messages: list[Message] = [{"role": "user", "content": text}]
            answer = yield from ask(ChatCall(messages, self._options.max_new_tokens, cost, has_label))
            with clock.stage("parse", cost):
                return read_choice(answer, len(items), cost.usage) or 0

        options = self._options
        order = yield from set_sort(options.method, len(texts), options.top, options.children, best)
        with clock.stage("order", cost):
            return Ranking.of(request, order, cost)
