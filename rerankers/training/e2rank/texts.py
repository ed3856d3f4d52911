"""Writes the texts of E2Rank's training as token ids: the published training code's, by source of the data.

A record is one line of the published data, `{"query", "document": [...], "ranking": [...], "source"}`, or of
this project's lists, `{"query", "passages": [...], "ranking": [...]}`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerankers.chat.template import ChatTemplate
from rerankers.listwise.e2rank_prompt import END, embedding_query

if TYPE_CHECKING:
    from collections.abc import Sequence


@cache
def _sentences() -> dict[str, dict[str, str]]:
    """Return the sentences that stand before queries and in prompts, by source of the data."""
    return tomllib.loads((Path(__file__).parent / "sentences.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Lengths:
    """Longest texts in tokens; what is longer loses its end.

    Attributes:
        query: a query with the instruction before it.
        passage: a passage that is embedded.
        prompt: a listwise prompt.
    """

    query: int = 512
    passage: int = 1024
    prompt: int = 32768


class TrainingTexts:
    """A writer of queries, passages and listwise prompts as token ids.

    Args:
        tokenizer: of the model, with a chat template.
        model: the model's name, for errors.
        lengths: longest texts.
    """

    def __init__(self, tokenizer: Any, model: str, lengths: Lengths) -> None:
        thinks = "enable_thinking" in str(tokenizer.chat_template)
        self._template = ChatTemplate(tokenizer, model, {"enable_thinking": False} if thinks else {})
        self._tokenizer, self._lengths = tokenizer, lengths

    def query(self, source: str, query: str) -> list[int]:
        """Return the token ids of a query behind the sentence of its source."""
        sentence = _sentence(source)["query"]
        return self._ids(embedding_query(sentence, query) + END, self._lengths.query)

    def passage(self, text: str) -> list[int]:
        """Return the token ids of a passage to embed, with its end token."""
        return self._ids(text + END, self._lengths.passage)

    def prompt(self, source: str, query: str, passages: Sequence[str]) -> list[int]:
        """Return the token ids of the listwise prompt of a query and its passages.

        As in the published code, training words this prompt in another way than evaluation does.
        """
        lines = "\n".join(f"[{number}] {text}" for number, text in enumerate(passages, start=1))
        content = f"{_sentence(source)['prompt']}:\nDocuments:\n{lines}\nQuery: {query}{END}"
        return self._template.tokens([{"role": "user", "content": content}])[: self._lengths.prompt]

    def _ids(self, text: str, longest: int) -> list[int]:
        """Return the first `longest` token ids of a text."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids[:longest]


def _sentence(source: str) -> dict[str, str]:
    """Return the sentences for one source of data; those of unknown data if the source is not listed."""
    sentences = _sentences()
    return sentences.get(source, sentences["default"])
