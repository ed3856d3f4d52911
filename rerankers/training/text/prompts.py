"""Writes listwise prompts with their answers as token ids, exactly as the rerankers read them.

The prompt is the one that `rankgpt` sends to a model in this process, or `first` with its letters. The answer
is the permutation, `[2] > [1] > [3]` (RankGPT, arXiv 2304.09542, section 4; RankZephyr, arXiv 2312.02724),
and the token that ends a turn.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerankers.chat.template import ChatTemplate
from rerankers.errors import ModelError
from rerankers.listwise.prompts import load_prompt, passage_words
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.training.text.settings import TextPromptName

LETTERS = string.ascii_uppercase


@dataclass(frozen=True, slots=True)
class AnsweredPrompt:
    """A prompt with its answer as token ids, of which the first `prompt_length` are the prompt's."""

    token_ids: list[int]
    prompt_length: int


class TextPrompts:
    """A writer of listwise prompts and answers for one model.

    Args:
        tokenizer: of the model, with a chat template.
        model: its name, for errors.
        prompt: name of the prompt.
        words: passages are cut after so many.
        variables: of the chat template.

    Raises:
        InputError: the chat template does not know a variable.
        ModelError: the model has no chat template, no token that ends a turn, or thinks before it answers.
    """

    def __init__(
        self, tokenizer: Any, model: str, prompt: TextPromptName, words: int, variables: Mapping[str, Any]
    ) -> None:
        self._tokenizer, self._words = tokenizer, words
        self._template = ChatTemplate(tokenizer, model, variables)
        self._template.refuse_thinking()
        self._control = ControlTokens(tokenizer)
        self._prompt = load_prompt(prompt)
        self.uses_letters = prompt == "first"
        if tokenizer.eos_token_id is None:
            raise ModelError(f"{model!r}: its tokenizer has no end-of-text token. Choose a chat model.")

    def text(self, query: str, passages: Sequence[str]) -> str:
        """Return the prompt of a query and its passages as text, up to where the answer begins."""
        texts = ["".join(passage_words(passage)[: self._words]) for passage in passages]
        labels = LETTERS if self.uses_letters else None
        messages, _ = self._control.read_messages(self._prompt.messages(query, texts, labels))
        return self._template.text(messages)

    def answer(self, order: Sequence[int]) -> str:
        """Return the text of an answer such as `[2] > [1]`.

        Args:
            order: places of the passages in the prompt, from 0, best first.
        """
        return " > ".join(f"[{LETTERS[place] if self.uses_letters else place + 1}]" for place in order)

    def write(self, query: str, passages: Sequence[str], order: Sequence[int]) -> AnsweredPrompt:
        """Return the prompt of a query and its passages with the answer `order`, as token ids."""
        text, answer = self.text(query, passages), self.answer(order)
        prompt = self.encode(text)
        whole = self.encode(text + answer)
        if whole[: len(prompt)] != prompt:  # the answer's first characters changed the prompt's last token
            whole = prompt + self.encode(answer)
        return AnsweredPrompt([*whole, self._tokenizer.eos_token_id], len(prompt))

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text whose special tokens the chat template has written already."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def is_cut(self, passage: str) -> bool:
        """Return whether a passage has more words than a prompt shows."""
        return len(passage_words(passage)) > self._words
