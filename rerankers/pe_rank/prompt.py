"""The prompt of PE-Rank: text with one slot a passage, as token ids (arXiv 2406.14848, section 3.2).

A slot is the token `<PLACEHOLDER>`; the model puts a passage's projected embedding in its place. The paper's
wording is kept to the letter, "followed by original text" included where no text follows: the released
checkpoints were trained so. A checkpoint of this project may bring its own wording.
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
    """A wording: `{n}`, `{query}`, `{i}` (1-based) and `{text}` are filled in; the default is the paper's.

    Attributes:
        prefix: comes first; knows `{n}` and `{query}`.
        passage: one passage given as an embedding alone; knows `{i}`.
        passage_with_text: one passage given as an embedding and its text; knows `{i}` and `{text}`.
        suffix: comes last; knows `{n}` and `{query}`.
        chat: whether it is a user's message in the model's chat template; otherwise it is plain text.
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
        """Return the prompt's text for `count` passages, with the passages' texts if given."""
        query = _without_slots(query)
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
    """Token ids, and the positions of the passages' slots among them, in passage order.

    `control_tokens` counts those that the query and the passages' texts brought.
    """

    token_ids: tuple[int, ...]
    slots: tuple[int, ...]
    control_tokens: int = 0


class PromptWriter:
    """Writes prompts with one model's tokenizer and chat template.

    A tokenizer that does not know `<PLACEHOLDER>` learns it here; the language model's vocabulary stays as it
    is, because a slot's own embedding is never looked up. `control_tokens` says how those of queries and
    passages are read; a slot of their own is text in either case.
    """

    def __init__(
        self, tokenizer: Any, template: PromptTemplate, control_tokens: ControlTokenMode = "text"
    ) -> None:
        if PLACEHOLDER not in tokenizer.get_vocab():
            tokenizer.add_tokens([PLACEHOLDER], special_tokens=True)
        self.template = template
        self.tokenizer = tokenizer
        self._slot: int = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        self._chat = template.chat and tokenizer.chat_template is not None
        self.control_tokens = control_tokens
        self._control = ControlTokens(tokenizer, control_tokens)

    def write(self, query: str, count: int, texts: Sequence[str] | None = None) -> Prompt:
        """Return the prompt for `count` passages, with the passages' texts if given.

        Raises:
            ModelError: the tokenizer or its chat template lost a slot.
        """
        data = [_without_slots(query), *(_clean(text) for text in texts or ())]
        (query, *passages), counts = self._control.read(data)
        text = self.template.message(query, count, None if texts is None else passages)
        if self._chat:
            prompt = self.write_messages([{"role": "user", "content": text}], count)
        else:
            prompt = self._prompt(text, count, add_special_tokens=True)
        return replace(prompt, control_tokens=sum(counts))

    def write_messages(self, messages: Sequence[Mapping[str, str]], count: int) -> Prompt:
        """Return a conversation with `count` slots in it, in the model's chat template.

        It ends where the model is to answer, unless its last turn is the model's own.

        Raises:
            ModelError: the tokenizer or its chat template lost a slot.
        """
        is_asked = messages[-1]["role"] != "assistant"
        name = self.tokenizer.name_or_path
        text = render(self.tokenizer, messages, model=name, add_generation_prompt=is_asked)
        return self._prompt(text, count, add_special_tokens=False)

    def _prompt(self, text: str, count: int, *, add_special_tokens: bool) -> Prompt:
        ids = self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        slots = tuple(position for position, token in enumerate(ids) if token == self._slot)
        if len(slots) != count:
            raise ModelError(
                f"the prompt has {len(slots)} slots for {count} passages; check the chat template"
            )
        return Prompt(tuple(ids), slots)


def _clean(text: str) -> str:
    return _without_slots(_CITATION.sub(r"(\1)", text))


def _without_slots(text: str) -> str:
    """Return a text from outside without placeholders of its own."""
    return text.replace(PLACEHOLDER, "(PLACEHOLDER)")
