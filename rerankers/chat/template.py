"""Renders chats in a model's chat template, for every method that runs a chat model in this process.

A template may refuse a system turn or two turns of one role; such turns are joined, and this is recorded. A
template may also leave its prompt inside a thinking block. The model then writes a thought first, not the
answer, so a method that does not let the model think refuses the template.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from rerankers.chat.conversation import joined_turns
from rerankers.chat.rendering import render
from rerankers.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.chat.conversation import Message

_THINKING = re.compile(r"<(/?)(think|thinking|thought|reasoning|seed:think)>|\[(/?)(THINK)\]")
_SWITCHES = ("enable_thinking", "thinking")  # template variables that turn thinking off
_FIRST, _SECOND = "zeroth", "firstly"  # turns of a trial conversation


class ChatTemplate:
    """A tokenizer's chat template with its variables, and the kinds of turns that must be joined for it.

    Args:
        tokenizer: the model's tokenizer.
        model: the model's name, for messages.
        variables: the template's own variables, such as `enable_thinking`.

    Attributes:
        thinking: the tags around thoughts, where the prompt ends inside them; else None.
        joins_system: whether the template takes no system turn, so that it joins the user's.
        joins_turns: whether the template takes no two turns of one role in a row, so that they are joined.

    Raises:
        InputError: the template does not know a variable.
        ModelError: the model has no chat template, or one that shows no user turn.
    """

    def __init__(self, tokenizer: Any, model: str, variables: Mapping[str, Any]) -> None:
        if not tokenizer.chat_template:
            raise ModelError(f"{model!r} has no chat template; choose a chat or instruct model")
        self._tokenizer = tokenizer
        self._model = model
        self._variables = dict(variables)
        self._refuse_unknown_variables()
        self.joins_system = self.joins_turns = False
        user: Message = {"role": "user", "content": _FIRST}
        ending = self.text([user]).rpartition(_FIRST)[2]
        if not self._shows([user]):
            raise ModelError(
                f"the chat template of {model!r} does not show what the user says; choose another model"
            )
        self.thinking = _open_tags(ending)
        self.joins_system = not self._shows(
            [{"role": "system", "content": _SECOND}, {"role": "user", "content": _FIRST}]
        )
        self.joins_turns = not self._shows([user, {"role": "user", "content": _SECOND}])

    def text(self, messages: Sequence[Message]) -> str:
        """Return a chat as one text, up to where the model's answer begins.

        Raises:
            ModelError: the template refuses the chat.
        """
        return self._render(messages)

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of a chat's text.

        Raises:
            ModelError: the template refuses the chat.
        """
        ids: list[int] = self._tokenizer(self.text(messages), add_special_tokens=False)["input_ids"]
        return ids

    def refuse_thinking(self) -> None:
        """Raise an error if the model would think before it answers.

        Raises:
            ModelError: the prompt ends inside a thinking block, or a variable leaves thinking on.
        """
        self.refuse_open_thinking("this method reads the answer's first token", "choose another model")
        user: Message = {"role": "user", "content": _FIRST}
        usual = self.text([user])
        for switch in _SWITCHES:
            if switch in self._variables or not self._mentions(switch):
                continue
            if self._render([user], {switch: False}) != usual:
                raise ModelError(
                    f"the chat template of {self._model!r} leaves thinking on, and this method reads the "
                    f"answer's first token. Set template_variables: {{{switch}: false}}."
                )

    def refuse_open_thinking(self, why: str, remedy: str) -> None:
        """Raise an error if the template's prompt ends inside a thinking block.

        Args:
            why: the reason that this is a problem, for the message.
            remedy: what the user can do beside switching thinking off.

        Raises:
            ModelError: it does.
        """
        if self.thinking is None:
            return
        switch = next((name for name in _SWITCHES if self._mentions(name)), None)
        remedy = f"set template_variables: {{{switch}: false}}, or {remedy}" if switch else remedy
        raise ModelError(
            f"the chat template of {self._model!r} ends its prompt inside {self.thinking[0]}, and {why}. "
            f"{remedy[0].upper()}{remedy[1:]}."
        )

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the template's variables and which turns are joined.

        Empty for neither.
        """
        described: dict[str, object] = {}
        if self._variables:
            described["template_variables"] = self._variables
        if self.joins_system:
            described["system_turn"] = "joined to the user's: the chat template takes none"
        if self.joins_turns:
            described["repeated_turns"] = "joined: the chat template takes no two turns of one role in a row"
        return described

    def _render(self, messages: Sequence[Message], more: Mapping[str, Any] | None = None) -> str:
        """Return the text of a chat, its turns joined, with the template's variables and `more` of them."""
        variables = {**self._variables, **(more or {})}
        return render(self._tokenizer, self._joined(messages), model=self._model, variables=variables)

    def _joined(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages with those turns joined that the template does not take one by one."""
        return joined_turns(messages, joins_system=self.joins_system, joins_turns=self.joins_turns)

    def _shows(self, messages: Sequence[Message]) -> bool:
        """Return whether the template accepts a chat and its text contains every message."""
        try:
            text = self.text(messages)
        except ModelError:
            return False
        return all(message["content"] in text for message in messages)

    def _mentions(self, variable: str) -> bool:
        """Return whether the template's source contains the name of a variable."""
        return re.search(rf"\b{re.escape(variable)}\b", str(self._tokenizer.chat_template)) is not None

    def _refuse_unknown_variables(self) -> None:
        """Raise an `InputError` for a variable that the template does not mention."""
        taken = {"messages", *inspect.signature(self._tokenizer.apply_chat_template).parameters}
        for name in self._variables:
            if name in taken or not self._mentions(name):
                raise InputError(
                    f"template_variables: the chat template of {self._model!r} has no variable {name!r}. "
                    "Take a name that the template mentions, or leave it out."
                )


def _open_tags(ending: str) -> tuple[str, str] | None:
    """Return the opening and closing tag of the thinking block that a text leaves open, or None."""
    tags = list(_THINKING.finditer(ending))
    if not tags or tags[-1][1] or tags[-1][3]:
        return None
    last = tags[-1]
    return last[0], f"</{last[2]}>" if last[2] else "[/THINK]"
