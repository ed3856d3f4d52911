"""FIRST: one forward pass ranks a window, by the logits of the first identifier (arXiv 2406.15657).

The prompt asks for an order of letters, as RankZephyr's does of numbers; the answer is begun with `[`, and
the next-token logits of the letters shown are the passages' scores (section 3). Nothing is generated. Models
trained for it exist; an untrained model's first identifier says less. Windows as in
`rerankers.listwise.windows`.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field, validate_call

from rerankers.chat.template import ChatTemplate
from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest, count_ties
from rerankers.listwise.prompts import load_prompt
from rerankers.listwise.prompts import passage_words as words_of
from rerankers.listwise.windows import InitialOrder, WindowPolicy, initial_order, sliding_windows
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import read_only
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.text.control_tokens import ControlTokenMode, ControlTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.chat.conversation import Message
    from rerankers.stages import StageClock

_LETTERS = string.ascii_uppercase


class First(Reranker):
    """Listwise reranking by the logits of the first identifier.

    Args:
        model: hub id, folder or wheel of a chat model.
        revision: hub revision.
        window: passages per forward pass, at most 26.
        step: places the window moves.
        policy: see `rerankers.listwise.windows`.
        initial_order: the order shown at first: `given`, `shuffled` by `seed` and query id, or `reversed`.
        passage_words: passages are cut after this many words, counted by `rerankers.text.words`.
        control_tokens: how control tokens in queries and passages are read; see
            `rerankers.text.control_tokens`.
        dtype, device, attention: see `rerankers.llm.causal`.
        template_variables: the chat template's own variables, such as `{enable_thinking: false}`.

    Raises:
        InputError: the chat template does not know a variable.
        ModelError: the model has no chat template, thinks before it answers, or its tokenizer does not keep
            letters apart.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        window: Annotated[int, Field(ge=2, le=26)] = 20,
        step: Annotated[int, Field(ge=1)] = 10,
        policy: WindowPolicy = "clipped",
        initial_order: InitialOrder = "given",
        seed: int = 0,
        passage_words: Annotated[int, Field(ge=1)] = 300,
        control_tokens: ControlTokenMode = "text",
        dtype: DtypeName = "auto",
        device: str = "auto",
        attention: AttentionName = "auto",
        template_variables: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> None:
        self.check_options({"window": window, "step": step})
        self._window = window
        self._step = step
        self._policy = policy
        self._initial_order, self._seed = initial_order, seed
        self._passage_words = passage_words
        self._llm = CausalLM(model, revision=revision, device=device, dtype=dtype, attention=attention)
        self._template = ChatTemplate(self._llm.tokenizer, model, template_variables)
        self._template.refuse_thinking()
        self._control = ControlTokens(self._llm.tokenizer, control_tokens)
        self.device = str(self._llm.device)
        self._prompt = load_prompt("first")
        config = self._llm.model.config.get_text_config()
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self._described = self._llm.describe()  # before the vocabulary's projection is cut to the letters
        read_only(self._llm.model, self._letter_tokens(model))

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a step that does not fit its window."""
        sliding_windows(0, options["window"], options["step"])

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests one after the other, each window in one forward pass."""
        return [self._rank(request, clock) for request in requests]

    def describe(self) -> dict[str, object]:
        """The model as loaded, and where the prompt is from."""
        return {**self._described, **self._template.describe(), "prompt_source": self._prompt.source}

    def _rank(self, request: RerankRequest, clock: StageClock) -> Ranking:
        cost = Cost()
        with clock.stage("prompt", cost):
            words = [words_of(candidate.text) for candidate in request.candidates]
        order = initial_order(len(words), self._initial_order, self._seed, request.query_id)
        truncated: set[int] = set()
        for start, end in sliding_windows(len(words), self._window, self._step, self._policy):
            shown = order[start:end]
            with clock.stage("prompt", cost):
                tokens, longest, control_tokens = self._fit(request.query, [words[i] for i in shown])
                truncated.update(i for i in shown if len(words[i]) > longest)
            with clock.stage("prefill", cost), torch.inference_mode():
                prompt = torch.tensor([tokens], device=self._llm.device)  # (1, len(tokens))
                logits = self._llm.model(input_ids=prompt, use_cache=False, logits_to_keep=1).logits[0, -1]
                scores: list[float] = logits[: len(shown)].tolist()
            with clock.stage("order", cost):
                ranked = sorted(range(len(shown)), key=lambda i: -scores[i])
                cost.usage.ties = count_ties([scores[i] for i in ranked])  # the last window is the head
                order[start:end] = [shown[i] for i in ranked]
            cost.usage.windows += 1
            cost.usage.llm_calls += 1
            cost.usage.prompt_tokens += len(tokens)
            cost.usage.control_tokens += control_tokens
        with clock.stage("order", cost):
            cost.usage.passages_truncated = len(truncated)
            return Ranking.of(request, order, cost)

    def _fit(self, query: str, passages: Sequence[list[str]]) -> tuple[list[int], int, int]:
        """Token ids of the prompt with passages as long as allowed and the context holds; that length.

        Last comes how many control tokens the query and the passages brought.
        """
        longest = self._passage_words
        while True:
            texts = ["".join(words[:longest]) for words in passages]
            messages, control_tokens = self._control.read_messages(
                self._prompt.messages(query, texts, _LETTERS)
            )
            tokens = self._encode(self._text(messages))
            if self._context is None or len(tokens) <= self._context:
                return tokens, longest, control_tokens
            if longest == 1:
                raise ModelError(f"{len(passages)} passages exceed the context of {self._context} tokens")
            longest = max(1, longest * 9 // 10)

    def _text(self, messages: Sequence[Message]) -> str:
        """The prompt as text, with the answer begun."""
        return self._template.text(messages) + "["

    def _encode(self, text: str) -> list[int]:
        """Token ids; the chat template has written the special tokens already."""
        ids: list[int] = self._llm.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _letter_tokens(self, model: str) -> list[int]:
        """Return the token that writes each letter right after the opening bracket."""
        begun = self._text([{"role": "user", "content": "Rank the passages."}])
        before = self._encode(begun)
        tokens = []
        for letter in _LETTERS:
            after = self._encode(begun + letter)
            if after[:-1] != before:
                raise ModelError(
                    f"the tokenizer of {model!r} does not write '[{letter}' as '[' and one letter"
                )
            tokens.append(after[-1])
        return tokens
