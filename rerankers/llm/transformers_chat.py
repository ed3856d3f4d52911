"""A chat model in this process: transformers, the model's own chat template, greedy decoding.

Prefill and decode are written out, because they are bound by different things and are measured apart: prefill
reads all prompt tokens in one pass and is bound by arithmetic, decoding reads all weights once per token and
is bound by memory bandwidth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jinja2 import TemplateError

from rerankers.errors import ModelError
from rerankers.llm.causal import CausalLM
from rerankers.llm.chat import ChatAnswer, ChatBackend, ChatCall, ChatSettings, Message, T, Talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.stages import StageClock


class TransformersChat(ChatBackend):
    """Answers calls with a causal LM, one at a time.

    Raises:
        ModelError: the model does not load, or has no chat template.
    """

    def __init__(self, settings: ChatSettings) -> None:
        self._llm = CausalLM(
            settings.model,
            revision=settings.revision,
            device=settings.device,
            dtype=settings.dtype,
            attention=settings.attention,
        )
        if not self._llm.tokenizer.chat_template:
            raise ModelError(f"{settings.model!r} has no chat template; choose a chat or instruct model")
        self.device = str(self._llm.device)
        config = self._llm.model.config.get_text_config()
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self._ends = self._end_tokens()
        self._latest: tuple[Sequence[Message], list[int]] | None = None

    def run(self, talks: Sequence[Talk[T]], clock: StageClock) -> list[T]:
        """Drive the talks one after the other."""
        results = []
        for talk in talks:
            try:
                call = next(talk)
                while True:
                    call = talk.send(self._answer(call, clock))
            except StopIteration as finished:
                results.append(finished.value)
        return results

    def fits(self, messages: Sequence[Message], max_new_tokens: int) -> bool:
        """Whether prompt and answer fit the positions the model was trained with."""
        return self._context is None or len(self._tokens(messages)) + max_new_tokens <= self._context

    def describe(self) -> dict[str, object]:
        """Backend and model as loaded; tokens are counted here, so exactly."""
        return {"backend": "transformers", **self._llm.describe(), "tokens_counted_by": "the tokenizer"}

    @torch.inference_mode()
    def _answer(self, call: ChatCall, clock: StageClock) -> ChatAnswer:
        usage = call.cost.usage
        with clock.stage("prompt", call.cost):
            tokens = self._tokens(call.messages)
            if not self.fits(call.messages, call.max_new_tokens):
                raise ModelError(
                    f"a prompt of {len(tokens)} tokens and an answer of {call.max_new_tokens} exceed the "
                    f"model's context of {self._context}; use a smaller window or fewer passage words"
                )
            prompt = torch.tensor([tokens], device=self._llm.device)  # (1, len(tokens))
        with clock.stage("prefill", call.cost):
            output = self._llm.model(input_ids=prompt, use_cache=True, logits_to_keep=1)
            token = int(output.logits[0, -1].argmax())
        generated = [token]
        text = ""
        with clock.stage("decode", call.cost):
            while token not in self._ends:
                text = self._llm.tokenizer.decode(generated, skip_special_tokens=True)
                if len(generated) == call.max_new_tokens or call.known(text):
                    break
                output = self._llm.model(
                    input_ids=torch.tensor([[token]], device=self._llm.device),
                    past_key_values=output.past_key_values,
                    use_cache=True,
                )
                token = int(output.logits[0, -1].argmax())  # the one wait for the device in each step
                generated.append(token)
        usage.llm_calls += 1
        usage.prompt_tokens += len(tokens)
        usage.generated_tokens += len(generated)
        usage.decode_steps += len(generated) - 1
        if token in self._ends:
            return ChatAnswer(text, "done")
        return ChatAnswer(text, "known" if call.known(text) else "cut_off")

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the prompt; the latest are kept, because a call is first tried for size."""
        if self._latest is None or self._latest[0] is not messages:
            try:
                encoded = self._llm.tokenizer.apply_chat_template(
                    list(messages), add_generation_prompt=True, return_dict=True
                )
            except TemplateError as error:
                raise ModelError(f"the model's chat template refuses the prompt: {error}") from error
            self._latest = (messages, list(encoded["input_ids"]))
        return self._latest[1]

    def _end_tokens(self) -> frozenset[int]:
        """Ids that end a turn: the generation config's, one or several, and the tokenizer's."""
        configured = self._llm.model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return frozenset(end for end in [*ends, self._llm.tokenizer.eos_token_id] if end is not None)
