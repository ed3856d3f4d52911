"""FIRST: one forward pass ranks a window, by the logits of the first identifier (arXiv 2406.15657).

The prompt asks for an order of letters, as RankZephyr's does of numbers; the answer is begun with `[`, and
the next-token logits of the letters shown are the passages' scores (section 3). Nothing is generated. Models
trained for it exist; an untrained model's first identifier says less. Windows as in
`rerankers.listwise.windows`; those of a round share forward passes.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field, validate_call

from rerankers.chat.template import ChatTemplate
from rerankers.errors import ModelError
from rerankers.interface import Capabilities, Cost, Ranking, Reranker, RerankRequest, count_ties
from rerankers.listwise.prompts import load_prompt
from rerankers.listwise.prompts import passage_words as words_of
from rerankers.listwise.windows import LetterWindowOptions, RunningPolicy, WindowPlan, check_windows
from rerankers.llm.adapter import loaded_models
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import read_only
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.text.control_tokens import ControlTokenMode, ControlTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerankers.chat.conversation import Message
    from rerankers.stages import StageClock

_LETTERS = string.ascii_uppercase
_WINDOWS = LetterWindowOptions()


class First(Reranker):
    """Listwise reranking by the logits of the first identifier.

    Args:
        model: hub id, folder or wheel of a chat model.
        revision: hub revision.
        windows: which passages the calls show; in experiment files these options stand beside the others.
        top: ranks that sorts settle; ten if None. Sliding windows settle all.
        batch_size: most windows of a round in one forward pass.
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
        windows: LetterWindowOptions = _WINDOWS,
        top: Annotated[int, Field(ge=1)] | None = None,
        batch_size: Annotated[int, Field(ge=1)] = 8,
        passage_words: Annotated[int, Field(ge=1)] = 300,
        control_tokens: ControlTokenMode = "text",
        dtype: DtypeName = "auto",
        device: str = "auto",
        attention: AttentionName = "auto",
        template_variables: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> None:
        self.check_options(dict(windows))
        self._windows = WindowPlan(windows, top)
        self._batch_size = batch_size
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
        has_rounds = windows.window_policy in ("top-down", "tournament", "tournament-llm4ranking")
        if has_rounds and not self._llm.exactness.pads:
            self._batch_size = 1
        read_only(self._llm.model, self._letter_tokens(model))

    @classmethod
    def capabilities(cls, options: Mapping[str, Any]) -> Capabilities:
        """Tell which models are loaded: an adapter's base model too."""
        return Capabilities(models=loaded_models(options["model"], options["revision"]))

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse window options that do not fit each other."""
        check_windows(options)

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests one after the other, each window in one forward pass."""
        return [self._rank(request, clock) for request in requests]

    def describe(self) -> dict[str, object]:
        """Return the model as loaded, and where the prompt is from."""
        return {**self._described, **self._template.describe(), "prompt_source": self._prompt.source}

    def _rank(self, request: RerankRequest, clock: StageClock) -> Ranking:
        cost = Cost()
        with clock.stage("prompt", cost):
            words = [words_of(candidate.text) for candidate in request.candidates]
        with clock.stage("order", cost):
            policy = RunningPolicy(self._windows.rounds(len(words), request.query_id))
        truncated: set[int] = set()
        while policy.windows:
            prompts = []
            with clock.stage("prompt", cost):
                for window in policy.windows:
                    tokens, longest, control_tokens = self._fit(
                        request.query, [words[i] for i in window.shown]
                    )
                    truncated.update(i for i in window.shown if len(words[i]) > longest)
                    cost.usage.prompt_tokens += len(tokens)
                    cost.usage.control_tokens += control_tokens
                    prompts.append(tokens)
            with clock.stage("prefill", cost):
                logits = [
                    row
                    for start in range(0, len(prompts), self._batch_size)
                    for row in self._letter_logits(prompts[start : start + self._batch_size])
                ]
            with clock.stage("order", cost):
                orders = []
                for window, scores in zip(policy.windows, logits, strict=True):
                    ranked = sorted(range(len(window.shown)), key=lambda i: -scores[i])
                    # the last window is the head
                    cost.usage.ties = count_ties([scores[i] for i in ranked])
                    orders.append([window.shown[i] for i in ranked])
                cost.usage.windows += len(orders)
                cost.usage.llm_calls += len(orders)
                cost.usage.sequential_calls += 1
                policy.send(orders)
        with clock.stage("order", cost):
            cost.usage.passages_truncated = len(truncated)
            return Ranking.of(request, policy.order, cost)

    @torch.inference_mode()
    def _letter_logits(self, prompts: Sequence[list[int]]) -> list[list[float]]:
        """Return the logits of all letters after each prompt; rows are padded on the right."""
        if len(prompts) == 1:
            row = torch.tensor(prompts, device=self._llm.device)  # (1, tokens)
            [alone] = self._llm.model(input_ids=row, use_cache=False, logits_to_keep=1).logits[:, -1].tolist()
            return [alone]
        longest = max(map(len, prompts))
        padding = self._llm.tokenizer.pad_token_id
        rows = [tokens + [padding] * (longest - len(tokens)) for tokens in prompts]
        ids = torch.tensor(rows, device=self._llm.device)  # (windows, longest)
        logits = self._llm.model(input_ids=ids, use_cache=False).logits  # (windows, longest, letters)
        return [logits[row, len(tokens) - 1].tolist() for row, tokens in enumerate(prompts)]

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
        """Return the prompt as text, with the answer begun."""
        return self._template.text(messages) + "["

    def _encode(self, text: str) -> list[int]:
        """Token ids; the chat template has written the special tokens already."""
        ids: list[int] = self._llm.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _letter_tokens(self, model: str) -> list[int]:
        """Return the token that writes each letter right after the opening bracket."""
        begun = self._text([{"role": "user", "content": "Rank the passages."}])
        return letter_tokens(self._encode, begun, model)


def letter_tokens(encode: Callable[[str], list[int]], begun: str, model: str) -> list[int]:
    """Return the token that writes each letter of the alphabet behind a text.

    Args:
        encode: the model's tokenizer.
        begun: a prompt and the answer's opening bracket.
        model: its name, for the error.

    Raises:
        ModelError: the tokenizer joins the letter with what stands before it.
    """
    before = encode(begun)
    tokens = []
    for letter in _LETTERS:
        after = encode(begun + letter)
        if after[:-1] != before:
            raise ModelError(f"the tokenizer of {model!r} does not write '[{letter}' as '[' and one letter")
        tokens.append(after[-1])
    return tokens
