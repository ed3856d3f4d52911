"""FIRST: one forward pass ranks a window by the logits of the first identifier (arXiv 2406.15657).

The prompt asks for an order of letters, as RankZephyr's does of numbers. The answer is begun with `[`, and
the next-token logits of the passages' letters are their scores (section 3). Nothing is generated. Models
trained for it exist; an untrained model's first identifier says less. Windows as in
`rerankers.listwise.windows`; those of a round share forward passes.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from rerankers.chat.template import ChatTemplate
from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest, count_ties
from rerankers.listwise.prompts import load_prompt
from rerankers.listwise.prompts import passage_words as words_of
from rerankers.listwise.windows import RunningPolicy, WindowPlan
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import end_logits, read_only
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.chat.conversation import Message
    from rerankers.methods.listwise.first import FirstOptions
    from rerankers.stages import StageClock

_LETTERS = string.ascii_uppercase


class First(Reranker):
    """A listwise reranker that orders a window by the next-token logits of its passages' letters.

    Raises:
        InputError: the chat template does not know a variable.
        ModelError: the model has no chat template, thinks before it answers, or its tokenizer does not keep
            letters apart.
    """

    def __init__(self, options: FirstOptions) -> None:
        self._windows = WindowPlan(options, options.top)
        self._batch_size = options.batch_size
        self._passage_words = options.passage_words
        self._llm = CausalLM.of(options, decodes=False)
        self._template = ChatTemplate(self._llm.tokenizer, options.model, options.template_variables)
        self._template.refuse_thinking()
        self._control = ControlTokens(self._llm.tokenizer, options.control_tokens)
        self.device = str(self._llm.device)
        self._prompt = load_prompt("first")
        config = self._llm.model.config.get_text_config()
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self._described = self._llm.describe()  # before the vocabulary's projection is cut to the letters
        has_rounds = options.window_policy in ("top-down", "tournament", "tournament-llm4ranking")
        if has_rounds and not self._llm.exactness.pads:
            self._batch_size = 1
        read_only(self._llm.model, self._letter_tokens(options.model))

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests one after another; the windows of a round go through the model in batches."""
        return [self._rank(request, clock) for request in requests]

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, its chat template, and the source of the prompt."""
        return {**self._described, **self._template.describe(), "prompt_source": self._prompt.source}

    def _rank(self, request: RerankRequest, clock: StageClock) -> Ranking:
        """Rank one request, round by round: score each window's passages by their letters' logits."""
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
                        request.query, [words[i] for i in window.positions]
                    )
                    truncated.update(i for i in window.positions if len(words[i]) > longest)
                    cost.usage.prompt_tokens += len(tokens)
                    cost.usage.control_tokens += control_tokens
                    prompts.append(tokens)
            with clock.stage("prefill", cost):
                logits = [
                    row
                    for start in range(0, len(prompts), self._batch_size)
                    for row in end_logits(self._llm, prompts[start : start + self._batch_size]).tolist()
                ]
            with clock.stage("order", cost):
                orders = []
                for window, scores in zip(policy.windows, logits, strict=True):
                    ranked = sorted(range(len(window.positions)), key=lambda i: -scores[i])
                    # the last window is the head
                    cost.usage.ties = count_ties([scores[i] for i in ranked])
                    orders.append([window.positions[i] for i in ranked])
                cost.usage.windows += len(orders)
                cost.usage.llm_calls += len(orders)
                cost.usage.sequential_calls += 1
                policy.send(orders)
        with clock.stage("order", cost):
            cost.usage.passages_truncated = len(truncated)
            return Ranking.of(request, policy.order, cost)

    def _fit(self, query: str, passages: Sequence[list[str]]) -> tuple[list[int], int, int]:
        """Return the token ids of a window's prompt, its passages cut so that it fits the model's context.

        Args:
            query: the query's text.
            passages: words of each passage.

        Returns:
            The token ids; the number of words after which passages were cut; and how many control tokens the
            query
            and the passages held.
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
        """Return the prompt as text, with the answer begun by `[`."""
        return self._template.text(messages) + "["

    def _encode(self, text: str) -> list[int]:
        """Return the token ids of a text whose special tokens the chat template has written already."""
        ids: list[int] = self._llm.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _letter_tokens(self, model: str) -> list[int]:
        """Return the id of the token for each letter A to Z right after the opening bracket."""
        begun = self._text([{"role": "user", "content": "Rank the passages."}])
        return letter_tokens(self._encode, begun, model)


def letter_tokens(encode: Callable[[str], list[int]], begun: str, model: str) -> list[int]:
    """Return for each letter A to Z the id of the token that writes it behind a text.

    Args:
        encode: the model's tokenizer.
        begun: a prompt and the answer's opening bracket.
        model: its name, for the error.

    Raises:
        ModelError: the tokenizer joins the letter with the character before it.
    """
    before = encode(begun)
    tokens = []
    for letter in _LETTERS:
        after = encode(begun + letter)
        if after[:-1] != before:
            raise ModelError(f"the tokenizer of {model!r} does not write '[{letter}' as '[' and one letter")
        tokens.append(after[-1])
    return tokens
