"""Settings of the sources of training queries, and of evaluation queries to keep out of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from benchmarks.datasets.specs import DatasetSpec
from rerankers.errors import InputError
from rerankers.files.paths import existing_path
from rerankers.methods.chat import ChatOptions
from rerankers.models.devices import DtypeName
from rerankers.options import Affects, options_affecting
from rerankers.text.control_tokens import ControlTokenMode

if TYPE_CHECKING:
    from collections.abc import Mapping

_Positive = Annotated[int, Field(ge=1)]
DEFAULT_PROMPT = "search"


class _Strict(BaseModel):
    """The base of all settings here: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GivenQueries(_Strict):
    """The dataset's own queries as training queries.

    Attributes:
        kind: `judged` takes those with judgements, `all` takes every one.
    """

    kind: Literal["judged", "all"]


class Titles(_Strict):
    """Titles of passages as training queries: free, and written by people.

    Attributes:
        kind: `titles`.
        field: the field of a passage that is its title.
        shortest_words: a title of fewer words is left out.
        longest_words: a title of more words is left out.
    """

    kind: Literal["titles"]
    field: str = Field(default="title", min_length=1)
    shortest_words: _Positive = 2
    longest_words: _Positive = 32


class ChatQuestions(ChatOptions):
    """Questions that a chat model writes about passages, as in InPars and Promptagator, without examples.

    See arXiv 2202.05144 and 2209.11755. Endpoints are called through the response cache, within the budget.

    Attributes:
        kind: `chat`.
        per_passage: number of questions to write about a passage, in one call.
        prompt: name of a prompt template in `prompts.toml`, or a template with `{passage}` and perhaps
            `{count}`.
        passage_words: passages are cut after this many words.
        max_new_tokens: most tokens of an output, which holds all questions of a passage.
        batch: number of passages between two writes to the file.
        shortest_words: a question of fewer words is left out.
        longest_words: a question of more words is left out.
    """

    kind: Literal["chat"]
    per_passage: _Positive = 1
    prompt: str = DEFAULT_PROMPT
    passage_words: _Positive = 200
    max_new_tokens: _Positive = 96
    batch: Annotated[_Positive, Affects("speed")] = 32
    shortest_words: _Positive = 2
    longest_words: _Positive = 32

    @model_validator(mode="after")
    def _has_a_place_for_the_passage(self) -> ChatQuestions:
        """Raise ValueError if a prompt template lacks `{passage}`."""
        if "{" in self.prompt and "{passage}" not in self.prompt:
            raise ValueError("a prompt template needs {passage} where the passage goes")
        return self


class Seq2SeqQuestions(_Strict):
    """Questions that a doc2query-style sequence-to-sequence model writes about passages.

    See docTTTTTquery (Nogueira and Lin, 2019).

    Attributes:
        kind: `seq2seq`.
        model: a T5-like checkpoint; hub id, folder or wheel.
        revision: hub revision.
        per_passage: number of questions to write about a passage.
        prefix: text before the passage, as the model was trained with, such as `text2query: `.
        top_k: each token is drawn from the k most probable ones, as doc2query-T5 does with 10; 1 takes the
            most probable token, for one question a passage.
        max_passage_tokens: passages are cut after this many tokens.
        max_new_tokens: most tokens of a question.
        batch: number of passages in one forward pass, and between two writes to the file.
        control_tokens: how control tokens in passages are read; see `rerankers.text.control_tokens`.
        device: torch device.
        dtype: dtype of the weights.
        shortest_words: a question of fewer words is left out.
        longest_words: a question of more words is left out.
    """

    kind: Literal["seq2seq"]
    model: str = Field(min_length=1)
    revision: str | None = None
    per_passage: _Positive = 1
    prefix: str = ""
    top_k: _Positive = 10
    max_passage_tokens: _Positive = 384
    max_new_tokens: _Positive = 64
    batch: Annotated[_Positive, Affects("speed")] = 16
    control_tokens: ControlTokenMode = "text"
    device: Annotated[str, Affects("speed")] = "auto"
    dtype: DtypeName = "auto"
    shortest_words: _Positive = 2
    longest_words: _Positive = 32

    @model_validator(mode="after")
    def _draws_different_questions(self) -> Seq2SeqQuestions:
        """Raise ValueError if several questions are requested and all would be equal."""
        if self.top_k == 1 and self.per_passage > 1:
            raise ValueError(
                "top_k: 1 writes the same question each time; set per_passage: 1 or a larger top_k"
            )
        return self


MadeQuerySource = Titles | ChatQuestions | Seq2SeqQuestions
"""Settings of queries that are made from passages."""


def _of_kind(value: Any) -> Any:
    """Return `{"kind": value}` for a string, other values unchanged."""
    return {"kind": value} if isinstance(value, str) else value


QuerySource = Annotated[
    Annotated[GivenQueries | Titles | ChatQuestions | Seq2SeqQuestions, Field(discriminator="kind")],
    BeforeValidator(_of_kind),
]
"""The source of training queries. A plain string stands for a kind without options."""


def defining_settings(source: MadeQuerySource) -> Mapping[str, Any]:
    """Return the settings that decide which queries are made, as JSON values."""
    return source.model_dump(mode="json", exclude=options_affecting(type(source), "nothing", "speed"))


class EvaluationQueries(_Strict):
    """Queries of an evaluation, which no training query may repeat.

    A plain string names any of the three sources.

    Attributes:
        id: an ir_datasets id; its judged queries, or all if none is judged.
        folder: a folder in the BEIR layout; the queries that its split judges, or all if none is judged.
        split: the split of `folder`; not needed if there is one, or a `test`.
        queries: a file of queries, as in `folder`.
    """

    id: str | None = Field(default=None, min_length=1)
    folder: str | None = Field(default=None, min_length=1)
    split: str | None = Field(default=None, min_length=1)
    queries: str | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        """Return the mapping that a plain string stands for; other values unchanged.

        An existing folder is a `folder`, another path `queries`, anything else an ir_datasets `id`.
        """
        if not isinstance(value, str):
            return value
        path = existing_path(value)
        if path is not None:
            return {"folder" if path.is_dir() else "queries": value}
        return {"queries" if value.startswith((".", "/", "~")) else "id": value}

    @model_validator(mode="after")
    def _is_one_kind(self) -> EvaluationQueries:
        """Raise ValueError unless exactly one source is named."""
        if sum(kind is not None for kind in (self.id, self.folder, self.queries)) != 1:
            raise ValueError("test queries have exactly one of id, folder and queries")
        if self.split is not None and self.folder is None:
            raise ValueError("split goes with folder")
        return self

    def dataset(self) -> DatasetSpec:
        """Return the specification of the dataset that has these queries.

        Raises:
            InputError: they are a file of queries.
        """
        if self.queries is not None:
            raise InputError(f"{self.queries}: a file of queries is not a dataset. Name a folder or an id")
        return DatasetSpec(id=self.id, folder=self.folder, split=self.split)
