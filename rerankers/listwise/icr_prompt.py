"""Writes the prompts of in-context reranking as token ids, with the tokens of each passage.

The published code (arXiv 2410.02642) counts the tokens of each piece and stops where two pieces merge. Here,
as in QRHead's code (arXiv 2506.09944), the whole prompt is tokenised, and character offsets tell which tokens
belong to a passage. The offsets follow from how the prompt is put together, so that a passage which quotes
another one keeps its own tokens; QRHead's code searches the text and takes the first match. The texts are
data: `icr_prompts.toml`.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from rerankers.errors import ModelError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

Template = Literal["instruct", "simple", "simple_instruct"]
RetrievalType = Literal["QA", "IE"]


class Family(BaseModel):
    """The texts that open and close turns in the prompts of one family of chat models.

    Attributes:
        source: where the turns are published.
        marker: the control token by which a tokenizer of the family is recognised.
        prefix: opens the user's turn.
        suffix: closes it and opens the model's.
        separator: stands before each passage, and between the parts of the closing text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str
    marker: str
    prefix: str
    suffix: str
    separator: str


class _Texts(BaseModel):
    """The text of a template before the passages (`opening`) and behind them (`closing`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    opening: str
    closing: str


class _Data(BaseModel):
    """The content of `icr_prompts.toml`: families, templates and instructions, each by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    families: dict[str, Family]
    templates: dict[str, _Texts]
    instructions: dict[str, str]


@cache
def _data() -> _Data:
    """Return the content of `icr_prompts.toml`, read once."""
    path = Path(__file__).with_name("icr_prompts.toml")
    return _Data.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def find_family(name: str, tokenizer: Any, model: str) -> str:
    """Return the name of a family of prompts: `name` itself, or for `auto` the one that fits the tokenizer.

    Args:
        name: of a family, or `auto`, which looks for a family's control token in the vocabulary.
        tokenizer: of the model.
        model: the model's name, for errors.

    Raises:
        UnknownNameError: there is no such family.
        ModelError: `auto` finds none, or several.
    """
    families = _data().families
    if name != "auto":
        check_family(name)
        return name
    vocabulary = tokenizer.get_added_vocab()
    names = [known_name for known_name, family in families.items() if family.marker in vocabulary]
    if len(names) != 1:
        raise ModelError(
            f"the tokenizer of {model!r} has the control tokens of {len(names)} of the families "
            f"{', '.join(families)}. Name one of them as prompt."
        )
    return names[0]


def check_family(name: str) -> None:
    """Raise an error unless the name is `auto` or that of a family of prompts.

    Raises:
        UnknownNameError: it is neither.
    """
    names = ["auto", *_data().families]
    if name not in names:
        raise UnknownNameError("icr prompt", name, names)


def frame_text(template: Template, retrieval_type: RetrievalType) -> str:
    """Return the fixed text of a prompt: opening, instruction and closing, with placeholders in it."""
    data = _data()
    texts = data.templates[template]
    return f"{texts.opening}\n{data.instructions[retrieval_type]}\n{texts.closing}"


@dataclass(frozen=True, slots=True)
class ICRPrompt:
    """The tokenised prompts of several queries over one list of passages.

    Attributes:
        beginning: token ids up to the query's part, which all prompts share.
        endings: token ids of each query's part, to the end of the prompt.
        passages: (start, end) of each passage's tokens in the beginning, its `[i] ` included.
    """

    beginning: list[int]
    endings: list[list[int]]
    passages: list[tuple[int, int]]


class ICRPromptWriter:
    """A writer of prompts for one model.

    Args:
        tokenizer: a fast tokenizer of transformers.
        family: a name in `icr_prompts.toml`.
        template: the text around the passages; `instruct` unless for ablations.
        retrieval_type: asks for an answer (`QA`) or for relevant information (`IE`).
    """

    def __init__(
        self, tokenizer: Any, family: str, template: Template, retrieval_type: RetrievalType
    ) -> None:
        data = _data()
        self._tokenizer = tokenizer
        self._family = data.families[family]
        self._opening = data.templates[template].opening
        self._closing = data.templates[template].closing.split("{query}")
        self._instruction = data.instructions[retrieval_type]

    def write(self, queries: Sequence[str], passages: Sequence[str]) -> ICRPrompt:
        """Return the tokenised prompts of several queries over the same passages, in the order given.

        Raises:
            ModelError: the tokenizer reads the passages differently under another query.
        """
        text = self._family.prefix + self._opening
        spans = []
        for number, passage in enumerate(passages, 1):
            text += self._family.separator
            numbered = f"[{number}] {passage}"
            spans.append((len(text), len(text) + len(numbered) - 1))
            text += numbered
        text += self._family.separator
        encoded = self._tokenizer(
            [text + self._query_part(query) for query in queries], return_offsets_mapping=True, verbose=False
        )
        beginnings, endings = [], []
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            starts = [start for start, _ in offsets]
            cut = _token_at(starts, len(text))
            beginnings.append(ids[:cut])
            endings.append(ids[cut:])
        if any(beginning != beginnings[0] for beginning in beginnings):
            raise ModelError(
                "the tokenizer reads the passages differently under another query. Name another model."
            )
        token_spans = [(_token_at(starts, first), _token_at(starts, last) + 1) for first, last in spans]
        return ICRPrompt(beginnings[0], endings, token_spans)

    def _query_part(self, query: str) -> str:
        """Return the text of a prompt behind the last passage: the closing with the query in it.

        A query's braces stay as they are.
        """
        values = {
            "instruction": self._instruction,
            "separator": self._family.separator,
            "suffix": self._family.suffix,
        }
        return query.strip().join(piece.format(**values) for piece in self._closing)


def _token_at(starts: Sequence[int], character: int) -> int:
    """Return the index of the token that covers a character.

    Args:
        starts: first character of each token.
        character: its position in the text.
    """
    return bisect_right(starts, character) - 1
