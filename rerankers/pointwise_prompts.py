"""The wordings of pointwise LLM rerankers: `pointwise_prompts.toml`, read and validated."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from rerankers.errors import InputError, UnknownNameError


class _Prompt(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    section: ClassVar[str]
    source: str
    text: str


class QueryLikelihoodPrompt(_Prompt):
    """A text with `{passage}` that the query follows.

    Attributes:
        before_query: what stands between prompt and query, outside the user message.
        chat: whether `text` is a user message and the query the assistant's answer.
    """

    section = "query_likelihood"
    before_query: str
    chat: bool


class YesNoPrompt(_Prompt):
    """A text with `{query}` and `{passage}` to which the model answers with one token.

    Attributes:
        yes: the token that means relevant.
        no: its opposite; without it the score is the logit of `yes` alone.
        chat: whether `text` is a user message.
    """

    section = "causal_yes_no"
    yes: str
    no: str | None = None
    chat: bool


class MonoT5Prompt(_Prompt):
    """A text with `{query}` and `{passage}`, and the tokens as the vocabulary spells them."""

    section = "mono_t5"
    yes: str
    no: str


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


def as_user_message(tokenizer: Any, text: str) -> str:
    """The text as a user's message in the model's chat template, up to where the answer begins.

    Raises:
        InputError: the tokenizer has no chat template.
    """
    if tokenizer.chat_template is None:
        raise InputError("this model has no chat template; choose a prompt without chat")
    rendered: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    return rendered


def fill(text: str, query: str, passage: str) -> str:
    """Put query and passage into a wording; braces inside them stay as they are."""
    values = {"query": query, "passage": passage}
    return re.sub(r"\{(query|passage)\}", lambda match: values[match[1]], text)
