"""A chat model in this process: transformers, the model's own chat template, greedy decoding.

Prefill and decode are written out, because they are bound by different things and are measured apart: prefill
reads all prompt tokens in one forward pass and is bound by arithmetic, decoding reads all weights once per
token and is bound by memory bandwidth. Calls that do not depend on each other are answered in batches, so
that decoding reads the weights once for all of them. The prefix that prompts share is prefilled once; see
`SharedPrefix`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import torch

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
from rerankers.chat.thinking import Thoughts
from rerankers.errors import ModelError
from rerankers.interface import Cost
from rerankers.llm.causal import CausalLM
from rerankers.llm.prefix import SharedPrefix
from rerankers.llm.readout import check_offsets, cut_to_tokens
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.llm.prefix import Read
    from rerankers.methods.chat import ChatOptions
    from rerankers.stages import Stage, StageClock


class _Round:
    """A round of calls of one conversation, with the answers so far by the call's place in the round."""

    def __init__(self, calls: Sequence[ChatCall]) -> None:
        self.calls = calls
        self.answers: dict[int, ChatCompletion] = {}

    def in_order(self) -> list[ChatCompletion]:
        """Return all answers in the order of the calls."""
        return [self.answers[place] for place in range(len(self.calls))]


class TransformersChat(ChatBackend):
    """A chat backend that runs a causal LM of transformers in this process.

    Args:
        options: which model, and how it is prompted and decoded.
        llm: the model, if it is loaded already; it is used as it is.

    Raises:
        InputError: the chat template does not know a variable.
        ModelError: the model does not load, has no chat template, or would think without a budget for it.
    """

    def __init__(self, options: ChatOptions, llm: CausalLM | None = None) -> None:
        self._llm = llm or CausalLM.of(options, decodes=True)
        self._template = ChatTemplate(self._llm.tokenizer, options.model, options.template_variables)
        self._reasoning_tokens = options.reasoning_tokens
        if not self._reasoning_tokens:
            self._template.refuse_open_thinking(
                "reasoning_tokens is 0", "give the model reasoning_tokens, such as 2000"
            )
        self.device = str(self._llm.device)
        self._at_once = options.concurrency
        self._rows = options.concurrency if self._llm.exactness.decodes else 1
        config = self._llm.model.config.get_text_config()
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self._ends = self._end_tokens()
        self._control = ControlTokens(self._llm.tokenizer, options.control_tokens)
        self._counted: dict[int, tuple[Sequence[Message], list[int], int]] = {}

    def run(self, conversations: Sequence[Conversation[T]], clock: StageClock) -> list[T]:
        """Drive every conversation to its end, and return their results in the same order.

        Up to `concurrency` conversations are open at once, and as many of their calls form a batch.
        """
        prefix = SharedPrefix(self._llm)  # forgotten afterwards: a repeated query is not to find itself
        results: dict[int, T] = {}
        waiting = deque(range(len(conversations)))
        rounds: dict[int, _Round] = {}
        calls: deque[tuple[int, int]] = deque()  # the conversation, and the place in its round

        def go_on(number: int, answers: list[ChatCompletion] | None) -> None:
            """Send answers to conversation `number` (None starts it).

            Queue its next calls, or keep its result.
            """
            try:
                batch_calls = (
                    next(conversations[number]) if answers is None else conversations[number].send(answers)
                )
            except StopIteration as finished:
                rounds.pop(number, None)
                results[number] = finished.value
                return
            count_round(batch_calls)
            rounds[number] = _Round(batch_calls)
            calls.extend((number, place) for place in range(len(batch_calls)))

        while waiting or calls:
            while waiting and len(rounds) < self._at_once:
                go_on(waiting.popleft(), None)
            batch = [calls.popleft() for _ in range(min(len(calls), self._rows))]
            batch_calls = [rounds[number].calls[place] for number, place in batch]
            answers = self._answer(batch_calls, prefix, clock) if batch else []
            for (number, place), answer in zip(batch, answers, strict=True):
                rounds[number].answers[place] = answer
            for number in dict.fromkeys(number for number, _ in batch):
                if len(rounds[number].answers) == len(rounds[number].calls):
                    go_on(number, rounds[number].in_order())
        return [results[number] for number in range(len(conversations))]

    def cut_to_tokens(self, texts: Sequence[str], limit: int) -> tuple[list[str], list[bool]]:
        """Cut each text to its first `limit` tokens; return the texts, and for each whether it was cut."""
        check_offsets(self._llm.tokenizer)
        return cut_to_tokens(self._llm.tokenizer, texts, limit)

    def fits(self, messages: Sequence[Message], max_new_tokens: int) -> bool:
        """Return whether prompt, thoughts and completion fit the positions the model was trained with."""
        longest = self._reasoning_tokens + max_new_tokens
        return self._context is None or len(self._tokens(messages)[0]) + longest <= self._context

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, its chat template and how it is decoded."""
        return {
            "backend": "transformers",
            **self._llm.describe(),
            **self._llm.exactness.describe("shares", "decodes"),
            **self._template.describe(),
            "tokens_counted_by": "the tokenizer",
            "control_tokens": self._control.mode,
            "concurrency": self._at_once,
        }

    @torch.inference_mode()
    def _answer(
        self, calls: Sequence[ChatCall], prefix: SharedPrefix, clock: StageClock
    ) -> list[ChatCompletion]:
        """Answer a batch of calls: prefill, decode, and charge seconds and tokens to each request."""
        costs = [call.cost for call in calls]
        with clock.stage("prompt", *costs):
            prompts = [self._prompt(call) for call in calls]
            for call in calls:
                call.cost.usage.control_tokens += self._tokens(call.messages)[1]
            self._counted.clear()
        with clock.stage("prefill", *costs):
            read = prefix.read(prompts)
        thoughts = [
            Thoughts(self._llm.tokenizer, self._reasoning_tokens, self._template.thinking) for _ in calls
        ]
        generated, answers = self._decode(calls, read, thoughts, clock)
        if len(calls) == 1:
            prefix.keep(prompts[0] + generated[0][:-1], read)
        steps: dict[int, int] = {}  # by whose they are: rows of one query take their steps together
        rows = zip(calls, prompts, read.reused, generated, thoughts, strict=True)
        for call, prompt, reused, written, thought in rows:
            usage = call.cost.usage
            usage.llm_calls += 1
            usage.prompt_tokens += len(prompt)
            usage.cached_tokens += reused
            usage.generated_tokens += len(written)
            usage.reasoning_tokens += thought.tokens
            before = steps.get(id(usage), 0)
            steps[id(usage)] = max(before, len(written) - 1)
            usage.decode_steps += steps[id(usage)] - before
        return answers

    def _decode(
        self, calls: Sequence[ChatCall], read: Read, thoughts: Sequence[Thoughts], clock: StageClock
    ) -> tuple[list[list[int]], list[ChatCompletion]]:
        """Decode a prefilled batch greedily; return the token ids and the answer of each call.

        A call that has ended leaves the batch. Without a budget for thoughts all steps are one stage. With
        one, every step is charged to the calls that take part in it: to `think` as long as a call thinks,
        then to `decode`.
        """
        costs = [call.cost for call in calls]
        generated: list[list[int]] = [[] for _ in calls]
        answers: dict[int, ChatCompletion] = {}
        rows = list(range(len(calls)))

        def step() -> None:
            """Add a token to each open call, drop those that end, and run the next forward pass."""
            nonlocal rows
            proposed = read.tokens.tolist()  # the one wait for the device
            for place, row in enumerate(rows):
                token = thoughts[row].next_token(proposed[place])
                if token != proposed[place]:
                    read.tokens[place] = token
                generated[row].append(token)
                thoughts[row].add(generated[row])
                answer = self._answer_if_over(calls[row], generated[row], thoughts[row])
                if answer is not None:
                    answers[row] = answer
            places = [place for place, row in enumerate(rows) if row not in answers]
            if len(places) < len(rows):
                rows = [rows[place] for place in places]
                if not rows:
                    return
                read.select(places)
            read.step()

        if not self._reasoning_tokens:
            with clock.stage("decode", *costs):
                while rows:
                    step()
        while rows:
            stages: dict[int, Stage] = {row: "think" if thoughts[row].go_on else "decode" for row in rows}
            measured = Cost()
            with clock.stage("think" if set(stages.values()) == {"think"} else "decode", measured):
                step()
            share = sum(measured.stage_seconds.values()) / len(stages)
            for row, stage in stages.items():
                seconds = calls[row].cost.stage_seconds
                seconds[stage] = seconds.get(stage, 0.0) + share
        return generated, [answers[row] for row in range(len(calls))]

    def _answer_if_over(
        self, call: ChatCall, generated: list[int], thoughts: Thoughts
    ) -> ChatCompletion | None:
        """Return the answer of a call if its generated tokens end it, else None.

        An end token, the call's stop condition or its limit of tokens ends it. Thoughts are no part of the
        answer.
        """
        has_ended = generated[-1] in self._ends
        if thoughts.go_on and not has_ended:
            return None
        answered = generated[thoughts.tokens :]
        text = self._llm.tokenizer.decode(answered[:-1] if has_ended else answered, skip_special_tokens=True)
        text = text.lstrip() if thoughts.tokens else text
        if has_ended:
            return ChatCompletion(text, "done", len(answered))
        if call.stop_condition(text):
            return ChatCompletion(text, "known", len(answered))
        is_cut_off = len(answered) == call.max_new_tokens
        return ChatCompletion(text, "cut_off", len(answered)) if is_cut_off else None

    def _prompt(self, call: ChatCall) -> list[int]:
        """Return the token ids of a call's prompt.

        Raises:
            ModelError: prompt and completion exceed the model's context.
        """
        tokens, _ = self._tokens(call.messages)
        if not self.fits(call.messages, call.max_new_tokens):
            raise ModelError(
                f"a prompt of {len(tokens)} tokens and an answer of "
                f"{self._reasoning_tokens + call.max_new_tokens} exceed the "
                f"model's context of {self._context}; use a smaller window or fewer passage words"
            )
        return tokens

    def _tokens(self, messages: Sequence[Message]) -> tuple[list[int], int]:
        """Return the prompt's token ids, and how many control tokens its messages brought.

        The result is kept until the prompt is answered, because `fits` asks for it first.
        """
        if id(messages) not in self._counted:
            readable, control_tokens = self._control.read_messages(messages)
            self._counted[id(messages)] = (messages, self._template.tokens(readable), control_tokens)
        return self._counted[id(messages)][1:]

    def _end_tokens(self) -> frozenset[int]:
        """Return the token ids that end a turn, by the generation config and the tokenizer."""
        configured = self._llm.model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return frozenset(end for end in [*ends, self._llm.tokenizer.eos_token_id] if end is not None)
