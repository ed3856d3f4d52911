"""The wordings of pointwise LLM rerankers: `pointwise_prompts.toml`, read and validated."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from rerankers.errors import UnknownNameError


class _Prompt(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    section: ClassVar[str]
    source: str


class QueryLikelihoodPrompt(_Prompt):
    """A text with `{passage}` that the query follows.

    Attributes:
        text: the prompt.
        before_query: what stands between prompt and query, outside the user message.
        chat: whether `text` is a user message and the query the assistant's answer.
    """

    section = "query_likelihood"
    text: str
    before_query: str
    chat: bool


PromptT = TypeVar("PromptT", bound=_Prompt)


def prompt_named(kind: type[PromptT], name: str) -> PromptT:
    """The wording of a method by its name.

    Raises:
        UnknownNameError: there is none.
    """
    path = Path(__file__).with_suffix(".toml")
    known = tomllib.loads(path.read_text(encoding="utf-8"))[kind.section]
    if name not in known:
        raise UnknownNameError(f"{kind.section} prompt", name, known)
    return kind.model_validate(known[name])
