"""Grades forced from a model in this process, for models that write no readable ones.

The output that the prompt template asks for is begun for the model, `##final score: `, and the grade is the
one of the four whose token is the most likely to come next. Every passage gets a grade in this way, whether
or not the model understood the question, so only the agreement with people's judgements tells what the grades
are worth. This is not how UMBRELA reads a model; judges of both kinds have names and files of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.judging.prompt import GRADES
from rerankers.chat.conversation import (
    ChatBackend,
    ChatCall,
    ChatCompletion,
    Conversation,
    Message,
    T,
    count_round,
)
from rerankers.chat.template import ChatTemplate
from rerankers.errors import InputError, ModelError
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import score_ends
from rerankers.models.batching import resolve_batch_tokens
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from rerankers.methods.chat import ChatOptions
    from rerankers.stages import StageClock

BEGINNING = "##final score: "
"""The beginning of the output, as the prompt template words it."""


class ForcedGrades(ChatBackend):
    """Answers each call with `##final score: ` and the most likely of the grades 0 to 3.

    Args:
        options: the model, which has to be in this process.

    Raises:
        InputError: an endpoint was named, which does not tell what its model finds likely.
        ModelError: the model does not load, has no chat template, thinks before it answers, or writes a grade
            as more than one token.
    """

    def __init__(self, options: ChatOptions) -> None:
        if options.backend != "transformers":
            raise InputError(
                "--reading forced needs the model in this process. Add --option backend=transformers."
            )
        self._llm = CausalLM.of(options, decodes=False)
        self._template = ChatTemplate(self._llm.tokenizer, options.model, options.template_variables)
        self._template.refuse_thinking()
        self._control = ControlTokens(self._llm.tokenizer, options.control_tokens)
        self._begun, self._grade_tokens = _tokens_of_grades(self._llm.tokenizer, options.model)
        self._batch_tokens = resolve_batch_tokens("auto", self._llm.device)
        config = self._llm.model.config.get_text_config()
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self.device = str(self._llm.device)

    def run(self, conversations: Sequence[Conversation[T]], clock: StageClock) -> list[T]:
        """Answer the one call of each conversation, in batches; return the results in the same order."""
        results: dict[int, T] = {}
        calls: dict[int, ChatCall] = {}
        for number, conversation in enumerate(conversations):
            try:
                [calls[number]] = next(conversation)
            except StopIteration as finished:
                results[number] = finished.value
        prompts = [self._prompt(call.messages) for call in calls.values()]
        costs = [call.cost for call in calls.values()]
        with clock.stage("forward", *costs):
            places = self._most_likely(prompts) if prompts else []
        for (number, call), prompt, place in zip(calls.items(), prompts, places, strict=True):
            count_round([call])
            call.cost.usage.llm_calls += 1
            call.cost.usage.prompt_tokens += len(prompt)
            try:
                conversations[number].send([ChatCompletion(f"{BEGINNING}{GRADES[place]}", "done", 1)])
            except StopIteration as finished:
                results[number] = finished.value
        return [results[number] for number in range(len(conversations))]

    def fits(self, messages: Sequence[Message], max_new_tokens: int) -> bool:
        """Return whether prompt and grade fit the positions the model was trained with."""
        return self._context is None or len(self._prompt(messages)) < self._context

    def describe(self) -> dict[str, object]:
        """Return the model as loaded, and that its grades are forced."""
        return {
            "backend": "transformers",
            **self._llm.describe(),
            **self._template.describe(),
            "control_tokens": self._control.mode,
            "reading": f"the most likely grade after {BEGINNING!r}",
        }

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        readable, _ = self._control.read_messages(messages)
        return self._template.tokens(readable) + self._begun

    def _most_likely(self, prompts: Sequence[Sequence[int]]) -> list[int]:
        """Return for each prompt the position in `GRADES` of the grade with the largest logit."""

        def best(positions: list[int], logits: torch.Tensor) -> torch.Tensor:
            return logits[:, -1, self._grade_tokens].argmax(dim=-1)  # (rows,)

        ends = score_ends(self._llm, prompts, [1] * len(prompts), self._batch_tokens, best)
        return [round(end) for end in ends]


def _tokens_of_grades(tokenizer: Any, model: str) -> tuple[list[int], list[int]]:
    """Return the token ids before a grade, and the id of each grade.

    Raises:
        ModelError: grades differ in more than their last token.
    """
    rows: list[list[int]] = [
        tokenizer(f"{BEGINNING}{grade}", add_special_tokens=False)["input_ids"] for grade in GRADES
    ]
    beginnings, ends = {tuple(row[:-1]) for row in rows}, [row[-1] for row in rows]
    if len(beginnings) > 1 or len(set(ends)) < len(ends):
        raise ModelError(f"{model!r} does not write grades as one token. Choose another model.")
    return rows[0][:-1], ends
