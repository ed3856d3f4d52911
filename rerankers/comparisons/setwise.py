"""Setwise prompting: a chat model selects the best of a few passages (arXiv 2310.09497).

The selections drive a heap sort or a bubble sort (section 3), or the insertion sort that
`LeonPeric/llm-rankers` adds. They settle the first ranks, with the calls of the published code. Of the
paper's two ways to read a selection, this is the generated label; an answer without one keeps the current
order. The paper cuts passages after 128 tokens; here they are cut after words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, validate_call

from rerankers.chat.conversation import ChatCall, Message, Talk, ask
from rerankers.chat.options import ComparisonOptions
from rerankers.chat.reranker import ChatReranker
from rerankers.comparisons.sorting import heap_order, insertion_order, set_bubble_order
from rerankers.interface import Cost, Ranking, RerankRequest
from rerankers.text.labels import chosen, cut_passages, is_said, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.stages import StageClock

_PROMPT = (
    'Given a query "{query}", which of the following passages is the most relevant one to the query?\n\n'
    "{passages}\n\nOutput only the passage label of the most relevant passage:"
)


class Setwise(ChatReranker):
    """Setwise prompting with a chat model.

    Args:
        chat: the model, its backend, and how much is compared; in experiment files these options stand beside
            the others.
        method: `heap`, `bubble` or `insertion`.
        children: children of a node of the heap, the published code's `num_child`. A prompt shows one more
            passage, so 2, the value of the published results, is the paper's c = 3.
    """

    @validate_call
    def __init__(
        self,
        *,
        chat: ComparisonOptions,
        method: Literal["heap", "bubble", "insertion"] = "heap",
        children: Annotated[int, Field(ge=1, le=25)] = 2,
    ) -> None:
        self._method = method
        self._children = children
        self._options = chat
        super().__init__(chat)

    def _talk(self, request: RerankRequest, clock: StageClock) -> Talk[Ranking]:
        cost = Cost()
        with clock.stage("prompt", cost):
            texts = cut_passages(request, self._options.passage_words, cost.usage)

        def best(items: Sequence[int]) -> Talk[int]:
            with clock.stage("prompt", cost):
                passages = labelled([texts[item] for item in items])
                text = _PROMPT.format(query=request.query, passages=passages)
            messages: list[Message] = [{"role": "user", "content": text}]
            answer = yield from ask(ChatCall(messages, self._options.max_new_tokens, cost, is_said))
            with clock.stage("parse", cost):
                return chosen(answer, len(items), cost.usage) or 0

        count, top, children = len(texts), self._options.top, self._children
        match self._method:
            case "heap":
                order = yield from heap_order(count, top, children, best)
            case "bubble":
                order = yield from set_bubble_order(count, top, children, best)
            case "insertion":
                order = yield from insertion_order(count, top, children, best)
        with clock.stage("order", cost):
            return Ranking.of(request, order, cost)
