"""Separates a model's thoughts from its answer, and ends them once a budget of tokens is used up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rerankers.chat.conversation import ChatCall

_USUAL_TAGS = ("<think>", "</think>")
_LAST_TOKENS = 16  # decoded to find a closing tag, which takes fewer


def after_thoughts(text: str) -> str:
    """Return the text behind the thoughts: all of it if there are none, "" while they go on."""
    begin, end = _USUAL_TAGS
    if end in text:
        return text.rpartition(end)[2].lstrip()
    return "" if text.lstrip().startswith(begin) else text


class Thoughts:
    """The thoughts at the beginning of one growing model output.

    Args:
        tokenizer: the model's tokenizer.
        budget: tokens that the model may think; then a closing tag is forced.
        tags: opening and closing tag where the prompt ends inside the thoughts; else the model opens them.

    Attributes:
        tokens: how many of the tokens written so far belong to the thoughts, tags included.
        go_on: whether the next token is still a thought.
    """

    def __init__(self, tokenizer: Any, budget: int, tags: tuple[str, str] | None) -> None:
        self.tokens = 0
        self.go_on = tags is not None
        self._may_open = tags is None and budget > 0
        self._tokenizer = tokenizer
        self._budget = budget
        self._begin, self._end = tags or _USUAL_TAGS
        self._forced: list[int] | None = None

    def next_token(self, proposed: int) -> int:
        """Return the next token: the one proposed, or the closing tag's once the budget is used up."""
        if self.go_on and self._forced is None and self.tokens >= self._budget:
            closing = f"\n{self._end}\n\n"
            self._forced = self._tokenizer(closing, add_special_tokens=False)["input_ids"]
        return self._forced.pop(0) if self._forced else proposed

    def add(self, written: list[int]) -> None:
        """Update `tokens` and `go_on` after a token was written; `written` holds all tokens so far."""
        if self._may_open:
            text = self._tokenizer.decode(written, skip_special_tokens=False).lstrip()
            self.go_on = text.startswith(self._begin)
            self._may_open = not self.go_on and self._begin.startswith(text)
        if not self.go_on:
            return
        self.tokens = len(written)
        recent = self._tokenizer.decode(written[-_LAST_TOKENS:], skip_special_tokens=False)
        self.go_on = bool(self._forced) or (self._forced is None and self._end not in recent)


def answers_after_thoughts(call: ChatCall) -> ChatCall:
    """Return a copy of the call whose stop condition reads only the text behind the thoughts."""
    return replace(call, stop_condition=lambda text: call.stop_condition(after_thoughts(text)))
