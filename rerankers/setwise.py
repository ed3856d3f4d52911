"""Setwise prompting: a chat model picks the best of a few passages (arXiv 2310.09497).

The picks drive a heap sort or a bubble sort (section 3), which settle the first places. Of the paper's two
ways to read a pick, this is the generated label; an answer without one keeps the current order.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, validate_call

from rerankers.devices import AttentionName, DtypeName
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.llm.chat import BackendName, ChatAnswer, ChatCall, ChatSettings, Talk, open_chat
from rerankers.rankgpt.prompt import passage_words as words_of
from rerankers.sorting import bubble_order, heap_order

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rerankers.stages import StageClock

_PROMPT = (
    'Given a query "{query}", which of the following passages is the most relevant one to the query?\n\n'
    "{passages}\n\nOutput only the passage label of the most relevant passage:"
)
_LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# "Passage A" anywhere, or a letter that is all of the answer or set off by a sign; "A glacier" is no label.
_LABEL = re.compile(r"(?i:passage)\s+([A-Z])\b|\A\W*([A-Z])(?=\W*\Z|[.:)\]])")


class Setwise(Reranker):
    """Setwise prompting with a chat model.

    Args:
        model: the endpoint's name of the model (`openai`); hub id, folder or wheel (`transformers`).
        backend: `openai` or `transformers`.
        base_url: root of an endpoint's API; the key is read from `OPENAI_API_KEY`.
        revision: hub revision of a model in this process.
        method: `heap` or `bubble`.
        top: places that are settled.
        children: passages compared with one more at a time; the paper's c.
        passage_words: passages are cut after this many words; the paper cuts after 128 tokens.
        max_new_tokens: longest answer.
        temperature: 0 is greedy; None leaves it to the endpoint.
        dtype, device, attention: of a model in this process.
        recording: file of an endpoint's answers, replayed and added to.
        budget_dollars: stop before calls to a model with a listed price could cost more.
        concurrency: queries under way at once at an endpoint.
        timeout_seconds: longest wait for one answer of an endpoint.
        retries: further attempts after a failure of an endpoint that may pass.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        backend: BackendName = "openai",
        base_url: str | None = None,
        revision: str | None = None,
        method: Literal["heap", "bubble"] = "heap",
        top: Annotated[int, Field(ge=1)] = 10,
        children: Annotated[int, Field(ge=1, le=25)] = 3,
        passage_words: Annotated[int, Field(ge=1)] = 100,
        max_new_tokens: Annotated[int, Field(ge=1)] = 8,
        temperature: Annotated[float, Field(ge=0)] | None = 0.0,
        dtype: DtypeName = "auto",
        device: str = "auto",
        attention: AttentionName = "auto",
        recording: Path | None = None,
        budget_dollars: Annotated[float, Field(gt=0)] | None = None,
        concurrency: Annotated[int, Field(ge=1)] = 8,
        timeout_seconds: Annotated[float, Field(gt=0)] = 120.0,
        retries: Annotated[int, Field(ge=0)] = 6,
    ) -> None:
        self._method = method
        self._top = top
        self._children = children
        self._passage_words = passage_words
        self._max_new_tokens = max_new_tokens
        self._chat = open_chat(
            ChatSettings(
                backend=backend,
                model=model,
                base_url=base_url,
                concurrency=concurrency,
                timeout_seconds=timeout_seconds,
                retries=retries,
                temperature=temperature,
                recording=recording,
                budget_dollars=budget_dollars,
                revision=revision,
                dtype=dtype,
                device=device,
                attention=attention,
            )
        )
        self.device = self._chat.device

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank each request; requests run side by side where the backend can."""
        return self._chat.run([self._rank(request, clock) for request in requests], clock)

    def describe(self) -> dict[str, object]:
        """The backend as used."""
        return self._chat.describe()

    def close(self) -> None:
        """Close the backend's connections."""
        self._chat.close()

    def _rank(self, request: RerankRequest, clock: StageClock) -> Talk[Ranking]:
        cost = Cost()
        with clock.stage("prompt", cost):
            words = [words_of(candidate.text) for candidate in request.candidates]
            texts = [" ".join(each[: self._passage_words]) for each in words]
            cost.usage.passages_truncated = sum(len(each) > self._passage_words for each in words)

        def best(items: Sequence[int]) -> Generator[ChatCall, ChatAnswer, int]:
            with clock.stage("prompt", cost):
                shown = [
                    f"Passage {label}: {texts[item]}" for label, item in zip(_LABELS, items, strict=False)
                ]
                text = _PROMPT.format(query=request.query, passages="\n\n".join(shown))
            answer = yield ChatCall([{"role": "user", "content": text}], self._max_new_tokens, cost, _is_said)
            with clock.stage("parse", cost):
                label = _LABEL.search(answer.text)
                chosen = _LABELS.index(label[1] or label[2]) if label else None
                if chosen is not None and chosen < len(items):
                    return chosen
                cost.usage.fault("malformed")
                if chosen is not None:
                    cost.usage.fault("out_of_range")
                elif answer.end in ("cut_off", "refused"):
                    cost.usage.fault(answer.end)
                return 0

        if self._method == "heap":
            order = yield from heap_order(len(texts), self._top, self._children, best)
        else:
            order = yield from bubble_order(len(texts), self._top, self._children + 1, best)
        with clock.stage("order", cost):
            return Ranking.of(request, order, cost)


def _is_said(text: str) -> bool:
    """Whether a label stands in the text and its word is over."""
    label = _LABEL.search(text)
    return label is not None and label.end() < len(text)
