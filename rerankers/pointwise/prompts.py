"""The prompt templates of pointwise LLM rerankers: `prompts.toml`, read and validated."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from rerankers.chat.template import ChatTemplate
from rerankers.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Prompt(BaseModel):
    """The base class of prompt templates: where one was published, and its text with placeholders in braces.

    Attributes:
        section: the section of `prompts.toml` that lists templates of the class.
        source: the publication or code that the text is from.
        text: the text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    section: ClassVar[str]
    source: str
    text: str


class QueryLikelihoodPrompt(_Prompt):
    """A prompt template of query likelihood: a text with `{passage}`, which the query follows.

    Attributes:
        before_query: the text between prompt and query, outside the user message.
        chat: whether `text` is a user message and the query the assistant's answer.
    """

    section = "query_likelihood"
    before_query: str
    chat: bool


class YesNoPrompt(_Prompt):
    """A prompt template of one text with `{query}` and `{passage}`, to which the model answers with one
    token.

    Attributes:
        form: how the text becomes tokens; see `rerankers.pointwise.yes_no_tokens`.
        yes: the token that means relevant.
        no: its opposite; without it the score is the logit of `yes` alone.
        chat: whether `text` is a user message.
        max_passage_tokens: the longest passage in tokens, unless an option sets another.
        score: the log-probability of `yes` between the two answers, or the difference of their logits.
    """

    section = "causal_yes_no"
    form: Literal["text"] = "text"
    yes: str
    no: str | None = None
    chat: bool = False
    max_passage_tokens: int = 1024
    score: Literal["log_probability", "logit_difference"] = "log_probability"

    def frame(self, _: str | None) -> tuple[str, ...]:
        """Return the texts of the template in a tuple; an instruction changes nothing."""
        return (self.text,)


class _PartedYesNoPrompt(_Prompt):
    """The fields of prompt templates of several parts, whose answers are two tokens."""

    section = "causal_yes_no"
    max_prompt_tokens: int
    yes: str
    no: str
    chat: Literal[False] = False
    score: Literal["log_probability", "logit_difference"] = "log_probability"


class FramedYesNoPrompt(_PartedYesNoPrompt):
    """A prompt template of a body with `{instruction}`, `{query}` and `{passage}` between a prefix and a
    suffix.

    Attributes:
        prefix, suffix: tokenised by themselves and never cut.
        instruction: the instruction for queries that have none.
        max_prompt_tokens: the longest prompt in tokens, unless an option sets another.
        counts_frame: whether that limit includes prefix and suffix.
    """

    form: Literal["framed"]
    prefix: str
    suffix: str
    instruction: str
    counts_frame: bool

    def frame(self, instruction: str | None) -> tuple[str, ...]:
        """Return prefix, body, instruction and suffix; the template's own instruction if none is given."""
        return self.prefix, self.text, instruction or self.instruction, self.suffix


class PiecewiseYesNoPrompt(_PartedYesNoPrompt):
    """A prompt template of pieces that are tokenised separately; `text` is the passage's piece.

    Attributes:
        prefix, task, suffix: pieces that are never cut.
        separator: the piece between instruction, query, passage and task.
        instruction_text, query_text: the pieces of the query part; the first is left out without an
            instruction.
        max_prompt_tokens: the longest pair of query part and passage part in tokens, unless an option sets
            another.
    """

    form: Literal["pieces"]
    prefix: str
    instruction_text: str
    query_text: str
    separator: str
    task: str
    suffix: str

    def frame(self, instruction: str | None) -> tuple[str, ...]:
        """Return the texts of the template in the order of the prompt, with an instruction if one
        is given.
        """
        stated = (self.instruction_text, instruction) if instruction else ()
        return self.prefix, *stated, self.query_text, self.text, self.task, self.suffix


AnyYesNoPrompt = YesNoPrompt | FramedYesNoPrompt | PiecewiseYesNoPrompt
"""A prompt template of the yes/no reranker, by its `form`."""

_FORMS: dict[str, type[AnyYesNoPrompt]] = {
    "text": YesNoPrompt,
    "framed": FramedYesNoPrompt,
    "pieces": PiecewiseYesNoPrompt,
}


class ReasoningPrompt(_Prompt):
    """A prompt template of Rank1: a text with `{query}` and `{passage}` after which the model writes
    thoughts.

    Attributes:
        closing: the text that ends the thoughts.
        yes, no: the tokens that may follow it.
    """

    section = "rank1"
    closing: str
    yes: str
    no: str


class MonoT5Prompt(_Prompt):
    """A prompt template of monoT5: a text with `{query}` and `{passage}`.

    Attributes:
        yes, no: the two answers as the vocabulary spells them.
    """

    section = "mono_t5"
    yes: str
    no: str


PromptT = TypeVar("PromptT", bound=_Prompt)


def prompt_named(kind: type[PromptT], name: str) -> PromptT:
    """Return the prompt template of a method by its name.

    Args:
        kind: the class of the method's templates.
        name: the template's name in `prompts.toml`.

    Raises:
        UnknownNameError: there is none of this name.
    """
    return kind.model_validate(_row(kind.section, name))


def yes_no_prompt(name: str) -> AnyYesNoPrompt:
    """Return the prompt template of the yes/no reranker by its name, as the class that its `form` names.

    Raises:
        UnknownNameError: there is none of this name.
    """
    row = _row(YesNoPrompt.section, name)
    return _FORMS[row.get("form", "text")].model_validate(row)


def _row(section: str, name: str) -> dict[str, Any]:
    """Return the entry of this name in a section of `prompts.toml`.

    Raises:
        UnknownNameError: the section has none of this name.
    """
    path = Path(__file__).with_suffix(".toml")
    prompts: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))[section]
    if name not in prompts:
        raise UnknownNameError(f"{section} prompt", name, prompts)
    return prompts[name]


def refuse_idle_variables(
    prompt: QueryLikelihoodPrompt | AnyYesNoPrompt, variables: Mapping[str, Any]
) -> None:
    """Refuse chat-template variables for a prompt template that uses no chat template.

    Raises:
        InputError: there are such variables.
    """
    if variables and not prompt.chat:
        raise InputError("template_variables: this prompt uses no chat template. Leave them out.")


class Framed:
    """The text of a prompt template as the model reads it: plain, or as a user message in the chat template.

    Args:
        prompt: the prompt template.
        tokenizer: the model's tokenizer.
        model: the model's name, for errors.
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
        """Return the record's entry on the chat template; an empty one if none is used."""
        return self._template.describe() if self._template else {}


def fill(text: str, **values: str) -> str:
    """Return a text with each placeholder in braces replaced by the value of that name.

    Braces inside values stay as they are.
    """
    return re.sub(rf"\{{({'|'.join(values)})\}}", lambda match: values[match[1]], text)
