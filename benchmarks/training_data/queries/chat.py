"""Lets a chat model write questions about passages, through the chat backends of the rerankers."""

from __future__ import annotations

import re
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.training_data.queries.writers import Question, QuestionWriter
from rerankers.chat.backends import open_chat
from rerankers.chat.conversation import ChatCall, ChatCompletion
from rerankers.errors import InputError, UnknownNameError
from rerankers.interface import Cost
from rerankers.methods.chat import ChatOptions
from rerankers.stages import StageClock
from rerankers.text.words import split_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.training_data.queries.settings import ChatQuestions
    from rerankers.chat.conversation import Conversation, Message
    from rerankers.endpoints.prices import Budget
    from rerankers.interface import Usage

_NUMBERED = re.compile(
    r"^(?:[-*•–]\s+|\(?\d{1,3}[.):](?!\d)\s*|(?:Q|Query|Question)\s*\d*\s*[:.]\s*)", re.IGNORECASE
)
_QUOTES = ('""', "''", "“”", "‘’", "«»", "``", "**")


class ChatWriter(QuestionWriter):
    """A question writer that calls a chat model once per passage.

    Raises:
        InputError: the prompt template is unknown, an option does not fit, or a key is missing.
        ModelError: the model does not load.
    """

    def __init__(self, source: ChatQuestions) -> None:
        self._template = _template(source.prompt, source.per_passage)
        self._source = source
        self.batch = source.batch
        self._chat = open_chat(
            ChatOptions(**{name: getattr(source, name) for name in ChatOptions.model_fields})
        )
        self._cost = Cost()

    def write(self, passages: Sequence[tuple[str, str]]) -> list[list[Question]]:
        """Return the model's questions about each passage, (doc id, text).

        Passages are processed concurrently.
        """
        return self._chat.run([self._conversation(text) for _, text in passages], StageClock())

    def _conversation(self, passage: str) -> Conversation[list[Question]]:
        """Ask the model about one passage, as a conversation for the chat backend; return its questions."""
        excerpt = "".join(split_words(passage)[: self._source.passage_words])
        values = {"passage": excerpt, "count": str(self._source.per_passage)}
        content = re.sub(r"\{(passage|count)\}", lambda match: values[match[1]], self._template)
        messages: list[Message] = [{"role": "user", "content": content}]
        count = self._source.per_passage
        is_whole = partial(has_questions, count=count)
        [answer] = yield [ChatCall(messages, self._source.max_new_tokens, self._cost, is_whole)]
        return read_questions(answer, count)

    def describe(self) -> dict[str, object]:
        """Return the chat backend's description of itself."""
        return self._chat.describe()

    def usage(self) -> Usage:
        """Return the calls, tokens and dollars of all questions so far."""
        return self._cost.usage

    def pay_from(self, budget: Budget) -> None:
        """Charge all further calls to a budget; a call that could exceed it is not made."""
        self._chat.pay_from(budget)

    def close(self) -> None:
        """Close the backend's connections."""
        self._chat.close()


def read_questions(answer: ChatCompletion, count: int) -> list[Question]:
    """Parse a model output into questions, one per line, each with its fault if it cannot be used.

    Numbers, bullets and quotation marks around a question are removed. A line that ends in a colon is no
    question. If the output was cut off, its last line is faulty.

    Args:
        answer: the model's output.
        count: number of questions that the prompt requests.
    """
    if answer.end == "refused":
        return [Question("", "refused")] * count
    lines = [line for line in map(_bare, answer.text.splitlines()) if line]
    questions: list[Question] = []
    usable = 0
    for position, line in enumerate(lines):
        if usable == count:
            questions.append(Question(line, "surplus"))
        elif answer.end == "cut_off" and position == len(lines) - 1:
            questions.append(Question(line, "cut_off"))
        elif line.endswith(":"):
            questions.append(Question(line, "malformed"))
        else:
            questions.append(Question(line))
            usable += 1
    cut = any(question.fault == "cut_off" for question in questions)
    return questions + [Question("", "missing")] * max(0, count - usable - cut)


def has_questions(text: str, count: int) -> bool:
    """Return whether the complete lines of an output so far contain `count` usable questions."""
    whole = text.rpartition("\n")[0]
    return sum(not question.fault for question in read_questions(ChatCompletion(whole), count)) == count


def _bare(line: str) -> str:
    """Return a line without numbers, bullets and quotation marks around the question."""
    text = _NUMBERED.sub("", line.strip()).strip()
    for pair in _QUOTES:
        if len(text) > 1 and text[0] == pair[0] and text[-1] == pair[1]:
            text = text[1:-1].strip("*").strip()
    return text


def _template(prompt: str, count: int) -> str:
    """Return the prompt template of this name, or `prompt` itself if it is a template.

    `count` questions per passage select the wording.
    """
    if "{" in prompt:
        return prompt
    templates = tomllib.loads(Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8"))
    if prompt not in templates:
        if any(character.isspace() for character in prompt):
            raise InputError(
                "queries.prompt: a prompt template needs {passage}. Write where the passage goes"
            )
        raise UnknownNameError("prompt", prompt, templates)
    return str(templates[prompt]["one" if count == 1 else "several"]).strip()
