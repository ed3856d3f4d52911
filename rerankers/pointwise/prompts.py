"""The wordings of pointwise LLM rerankers: `pointwise_prompts.toml`, read and validated."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from rerankers.chat.template import ChatTemplate
from rerankers.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def refuse_idle_variables(prompt: QueryLikelihoodPrompt | YesNoPrompt, variables: Mapping[str, Any]) -> None:
    """Refuse variables of a chat template where the prompt uses none.

    Raises:
        InputError: there are some.
    """
    if variables and not prompt.chat:
        raise InputError("template_variables: this prompt uses no chat template. Leave them out.")


class Framed:
    """A prompt template's text as the model reads it: plain, or as a user's message in the chat template.

    Args:
        prompt: the prompt template.
        tokenizer: the model's tokenizer.
        model: the model's name, for messages.
        variables: the chat template's own variables.

    Attributes:
        text: the text with its placeholders, up to where the answer begins.
        needs_special_tokens: whether the tokenizer is to add its own; a chat template writes them itself.

    Raises:
        InputError: the prompt is for chat models and the model has no chat template, or variables are given
            that no chat template takes.
        ModelError: the model would think before it answers.
    """

    def __init__(
        self,
        prompt: QueryLikelihoodPrompt | YesNoPrompt,
        tokenizer: Any,
        model: str,
        variables: Mapping[str, Any],
    ) -> None:
        self.needs_special_tokens = not prompt.chat
        self._template: ChatTemplate | None = None
        if not prompt.chat:
            refuse_idle_variables(prompt, variables)
            self.text = prompt.text
            return
        if not tokenizer.chat_template:
            raise InputError("this model has no chat template; choose a prompt without chat")
        self._template = ChatTemplate(tokenizer, model, variables)
        self._template.refuse_thinking()
        self.text = self._template.text([{"role": "user", "content": prompt.text}])

    def describe(self) -> dict[str, object]:
        """Return how the chat template is used, where one is."""
        return self._template.describe() if self._template else {}


def fill(text: str, query: str, passage: str) -> str:
    """Put query and passage into a wording; braces inside them stay as they are."""
    values = {"query": query, "passage": passage}
    return re.sub(r"\{(query|passage)\}", lambda match: values[match[1]], text)
