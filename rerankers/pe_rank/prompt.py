"""The prompt of PE-Rank: text with one placeholder a passage, as token ids (arXiv 2406.14848, section 3.2).

A placeholder is the token `<PLACEHOLDER>`; the model puts a passage's projected embedding in its place. The
paper's template is kept to the letter, "followed by original text" included where no text follows: the
released checkpoints were trained so. A checkpoint of this project may have a template of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rerankers.chat.rendering import render
from rerankers.errors import InputError, ModelError
from rerankers.text.control_tokens import ControlTokenMode, ControlTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACEHOLDER = "<PLACEHOLDER>"

_CITATION = re.compile(r"\[([0-9]+)\]")  # `[12]` in a passage could be read as a passage's number


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A prompt template of PE-Rank; the default is the paper's.

    Attributes:
        prefix: the text before the passages; `{n}`, their number, and `{query}` are filled in.
        passage: the line of a passage that is given as an embedding alone, with its number `{i}`, from 1.
        passage_with_text: the line of a passage given as an embedding and its text, with `{i}` and `{text}`.
        suffix: the text after the passages, with `{n}` and `{query}`.
        chat: whether the prompt is a user message in the model's chat template; otherwise it is plain text.

    Raises:
        InputError: a passage's line does not have exactly one placeholder.
    """

    prefix: str = (
        "I will provide you with {n} passages, each with a special token representing the passage enclosed "
        "in [], followed by original text.\n"
        "Rank the passages based on their relevance to the search query: {query}.\n"
    )
    passage: str = f"Passage {{i}}: [{PLACEHOLDER}]\n\n"
    passage_with_text: str = f"Passage {{i}}: [{PLACEHOLDER}] {{text}}\n\n"
    suffix: str = (
        "Search Query: {query}.\n"
        "Rank the {n} relatively ordered passages above based on their relevance to the search query, output "
        "the ranking in descending order. Only output the {n} unique special token in the ranking.\n\n"
    )
    chat: bool = True

    def __post_init__(self) -> None:
        for passage in (self.passage, self.passage_with_text):
            if passage.count(PLACEHOLDER) != 1:
                raise InputError(f"the passage line {passage!r} of a prompt needs one {PLACEHOLDER}")

    def message(self, query: str, count: int, texts: Sequence[str] | None = None) -> str:
        """Return the prompt as text, for a query and `count` passages.

        Args:
            query: the query's text.
            count: number of passages.
            texts: the passages' texts, if the prompt is to show them.
        """
        query = _without_placeholders(query)
        passages = [
            self.passage.replace("{i}", str(i + 1))
            if texts is None
            else self.passage_with_text.replace("{i}", str(i + 1)).replace("{text}", _clean(texts[i]))
            for i in range(count)
        ]
        around = [
            part.replace("{n}", str(count)).replace("{query}", query) for part in (self.prefix, self.suffix)
        ]
        return around[0] + "".join(passages) + around[1]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as token ids.

    Attributes:
        token_ids: the prompt.
        placeholders: positions of the passage placeholders in it, in passage order.
        control_tokens: number of control tokens that stood in the query and the passages' texts.
    """

    token_ids: tuple[int, ...]
    placeholders: tuple[int, ...]
    control_tokens: int = 0


class PromptWriter:
    """A writer of prompts with one model's tokenizer and chat template.

    A tokenizer without `<PLACEHOLDER>` gets it as a new token; the language model's vocabulary stays the
    same, because a placeholder's own embedding is never looked up.

    Args:
        tokenizer: of the language model.
        template: the prompt template.
        control_tokens: how control tokens in queries and passages are read; placeholders there are text.
    """

    def __init__(
        self, tokenizer: Any, template: PromptTemplate, control_tokens: ControlTokenMode = "text"
    ) -> None:
        if PLACEHOLDER not in tokenizer.get_vocab():
            tokenizer.add_tokens([PLACEHOLDER], special_tokens=True)
        self.template = template
        self.tokenizer = tokenizer
        self._placeholder: int = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        self._chat = template.chat and tokenizer.chat_template is not None
        self.control_tokens = control_tokens
        self._control = ControlTokens(tokenizer, control_tokens)

    def write(self, query: str, count: int, texts: Sequence[str] | None = None) -> Prompt:
        """Return the prompt for a query and `count` passages, as token ids.

        Args:
            query: the query's text.
            count: number of passages.
            texts: the passages' texts, if the prompt is to show them.

        Raises:
            ModelError: the tokenizer or its chat template lost a placeholder.
        """
        data = [_without_placeholders(query), *(_clean(text) for text in texts or ())]
        (query, *passages), counts = self._control.read(data)
        text = self.template.message(query, count, None if texts is None else passages)
        if self._chat:
            prompt = self.write_messages([{"role": "user", "content": text}], count)
        else:
            prompt = self._prompt(text, count, add_special_tokens=True)
        return replace(prompt, control_tokens=sum(counts))

    def write_messages(self, messages: Sequence[Mapping[str, str]], count: int) -> Prompt:
        """Return a conversation in the model's chat template, as token ids.

        It ends where the model is to answer, unless its last turn is the model's own.

        Args:
            messages: the turns, each with `role` and `content`.
            count: passage placeholders in them.

        Raises:
            ModelError: the tokenizer or its chat template lost a placeholder.
        """
        is_asked = messages[-1]["role"] != "assistant"
        name = self.tokenizer.name_or_path
        text = render(self.tokenizer, messages, model=name, add_generation_prompt=is_asked)
        return self._prompt(text, count, add_special_tokens=False)

    def _prompt(self, text: str, count: int, *, add_special_tokens: bool) -> Prompt:
        """Return a text as a prompt of token ids.

        Args:
            text: with `count` passage placeholders.
            count: number of passages.
            add_special_tokens: whether the tokenizer adds its own.

        Raises:
            ModelError: there is another number of placeholders in the token ids.
        """
        ids = self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        placeholders = tuple(position for position, token in enumerate(ids) if token == self._placeholder)
        if len(placeholders) != count:
            raise ModelError(
                f"the prompt has {len(placeholders)} placeholders for {count} passages; "
                "check the chat template"
            )
        return Prompt(tuple(ids), placeholders)


def _clean(text: str) -> str:
    """Return a passage's text with `[12]` written as `(12)`, and without placeholders of its own."""
    return _without_placeholders(_CITATION.sub(r"(\1)", text))


def _without_placeholders(text: str) -> str:
    """Return a text with `<PLACEHOLDER>` written as `(PLACEHOLDER)`."""
    return text.replace(PLACEHOLDER, "(PLACEHOLDER)")
