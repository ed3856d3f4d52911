"""Listwise prompt templates, loaded from `prompts.toml`: RankGPT's multi-turn prompt and its successors'."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rerankers.errors import MissingExtraError
from rerankers.text.words import split_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.chat.conversation import Message
    from rerankers.listwise.readers import ReaderName

PromptName = Literal[
    "rankgpt",
    "rank-vicuna",
    "rank-zephyr",
    "lrl",
    "tour-rank",
    "reason-rank",
    "reason-rank-qwen3",
    "reason-rank-plain",
    "reason-rank-rankk",
    "rank-k",
]
LetterPromptName = Literal["first"]

_BRACKETED = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class ListwisePrompt:
    """A prompt template that asks a chat model to rank passages; see `prompts.toml` for the fields."""

    source: str
    id: str
    turns: list[dict[str, str]]
    passage_turns: list[dict[str, str]]
    passage: str
    name: str
    escapes_ids: bool = False
    repairs_text: bool = False
    reader: ReaderName = "rankgpt"
    selects: bool = False

    @property
    def id_pattern(self) -> re.Pattern[str]:
        """Pattern of a passage's id in a well-formed model output; group 1 is its number."""
        return re.compile(self.id)

    def cleaned(self, text: str) -> str:
        """Return a query or passage with broken characters repaired, if this prompt does so.

        Else unchanged.
        """
        return _repaired(text.strip()) if self.repairs_text else text

    def messages(
        self,
        query: str,
        passages: Sequence[str],
        labels: Sequence[str] | None = None,
        ranks: int | None = None,
    ) -> list[Message]:
        """Return the chat messages that ask for a ranking of passages.

        Args:
            query: the query's text.
            passages: their texts, in the order shown.
            labels: names of the passages; None numbers them from 1.
            ranks: how many passages a prompt that `selects` asks for; None is all of them.
        """
        if self.repairs_text:
            query, *passages = map(self.cleaned, (query, *passages))
            query = _BRACKETED.sub(r"(\1)", query)
        if self.escapes_ids:
            passages = [_BRACKETED.sub(r"(\1)", passage) for passage in passages]
        numbered = list(zip(labels or range(1, len(passages) + 1), passages, strict=False))
        values = {
            "count": len(passages),
            "ranks": len(passages) if ranks is None else ranks,
            "query": query,
            "passages": "".join(self.passage.format(position=i, passage=text) for i, text in numbered),
            "names": ", ".join(self.name.format(position=i) for i, _ in numbered),
        }
        messages: list[Message] = []
        for turn in self.turns:
            if turn["role"] == "passages":
                for i, text in numbered:
                    messages += [
                        _filled(each, {"position": i, "passage": text}) for each in self.passage_turns
                    ]
            else:
                messages.append(_filled(turn, values))
        if self.repairs_text:  # the published code repairs the rendered prompt, whose tags keep HTML as it is
            for message in messages:
                message["content"] = _repaired(message["content"], unescapes_html=False)
        return messages


def load_prompt(name: PromptName | LetterPromptName) -> ListwisePrompt:
    """Return the prompt template with this name, from `prompts.toml`."""
    prompts = tomllib.loads((Path(__file__).parent / "prompts.toml").read_text(encoding="utf-8"))
    return ListwisePrompt(**{"passage_turns": [], "passage": "", "name": "", **prompts[name]})


def refuse_without_ftfy(prompt: ListwisePrompt, name: str) -> None:
    """Raise an error if a prompt repairs its texts and the package `ftfy`, which does that, is not installed.

    Raises:
        MissingExtraError: it is not.
    """
    if prompt.repairs_text and find_spec("ftfy") is None:
        raise MissingExtraError(f"prompt {name!r}", "reasoning")


def passage_words(text: str) -> list[str]:
    """Return a passage's words, without the empty-title label `Title: Content:` of some collections.

    Joined without a separator, the first words are the passage's beginning; see `rerankers.text.words`.
    """
    return split_words(text.replace("Title: Content: ", ""))


def _repaired(text: str, *, unescapes_html: bool = True) -> str:
    """Return a text with wrongly decoded characters repaired and curly quotation marks made straight."""
    import ftfy

    repaired: str = ftfy.fix_text(text, unescape_html="auto" if unescapes_html else False)
    return repaired


def _filled(turn: dict[str, str], values: Mapping[str, object]) -> Message:
    """Return a chat message from one turn of a template, its fields replaced by values."""
    return {"role": turn["role"], "content": turn["content"].format(**values)}  # type: ignore[typeddict-item]
