"""Makes tokenizers read control tokens in queries and passages as plain text.

A tokenizer turns `[SEP]`, `</s>` or `<|im_end|>` into the id that ends a text or a turn, wherever it stands.
A passage that contains one could thus end its own turn and begin another. Data are therefore changed before
they are tokenised: a space after a control token's first character makes it `[ SEP]`, which is read as
characters. Prompt templates and chat templates keep their control tokens. The published codes do nothing of
the kind; the option `control_tokens: control` does as they do.
"""

from __future__ import annotations

import copy
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rerankers.chat.conversation import Message

ControlTokenMode = Literal["text", "control"]
"""How control tokens in queries and passages are read: as plain text, or as the published codes do."""

_ROUNDS = 8  # one suffices unless a space makes another control token of the rest
_MARKER = re.compile(r"<\|.*\|>")
_BRACKETED = re.compile(r"<.*>|\[.*\]")


class ControlTokens:
    """The control tokens of one tokenizer, with methods that count and break them up in texts.

    Control tokens are those that the tokenizer calls special, added tokens of the form `<|...|>`, and added
    tokens in brackets that its chat template writes, such as `<think>`. Added words, white space and HTML
    tags are ordinary text, and so is a special token of one character.

    Args:
        tokenizer: a tokenizer of transformers, complete: tokens that are added later are not known here.
        mode: `text` breaks control tokens up; `control` leaves them as they are, and counts them.
    """

    def __init__(self, tokenizer: Any, mode: ControlTokenMode = "text") -> None:
        self.mode = mode
        self._tokenizer = tokenizer
        added = dict(tokenizer.added_tokens_decoder)
        template = str(getattr(tokenizer, "chat_template", None) or "")
        self._contents = {
            int(token_id): str(token)
            for token_id, token in added.items()
            if _is_control(str(token), getattr(token, "special", True), template)
        }
        for token_id, content in zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True):
            if _is_control(str(content), True, template):
                self._contents.setdefault(int(token_id), str(content))
        self._unknown = _unknown_ids(tokenizer)
        self._occurs = _pattern_of(self._contents.values())
        self._normalize: Callable[[str], str] | None = None
        normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
        changed = [self._contents[i] for i in self._contents if getattr(added.get(i), "normalized", False)]
        if normalizer is not None and changed:  # these are also met in another case or width
            self._normalize = normalizer.normalize_str
            self._occurs_normalized = _pattern_of(self._normalize(content).strip("▁ ") for content in changed)

    def read(self, texts: Sequence[str]) -> tuple[list[str], list[int]]:
        """Return each text as it is to be tokenised, and the number of control tokens in each.

        In mode `text` the control tokens are broken up by a space; in mode `control` the texts stay
        unchanged.
        """
        readable, counts = list(texts), [0] * len(texts)
        for i, text in enumerate(readable):
            if self._may_occur(text):
                readable[i], counts[i] = self._broken_up(text)
        return readable, counts

    def read_messages(self, messages: Sequence[Message]) -> tuple[list[Message], int]:
        """Apply `read` to the messages of a conversation; return them, and their control tokens in all."""
        contents, counts = self.read([message["content"] for message in messages])
        readable: list[Message] = [
            {"role": message["role"], "content": content}
            for message, content in zip(messages, contents, strict=True)
        ]
        return readable, sum(counts)

    def _may_occur(self, text: str) -> bool:
        """Return whether a text may hold a control token: a quick search that saves tokenising most texts."""
        if self._occurs.search(text):
            return True
        return self._normalize is not None and bool(self._occurs_normalized.search(self._normalize(text)))

    def _broken_up(self, text: str) -> tuple[str, int]:
        """Return the text, control tokens broken up (unchanged in mode `control`), and their number."""
        spans = self._spans(text)
        count = len(spans)
        if self.mode == "control":
            return text, count
        for _ in range(_ROUNDS):
            if not spans:
                return text, count
            text = _replace_spans(text, spans, lambda token: f"{token[0]} {token[1:]}")
            spans = self._spans(text)
        return _replace_spans(text, spans, lambda _: " "), count

    @cached_property
    def _backend(self) -> Any:
        """A copy of the fast tokenizer without truncation and padding; other threads use the original."""
        backend = copy.deepcopy(self._tokenizer.backend_tokenizer)
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = self._tokenizer.split_special_tokens
        return backend

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Return the (start, end) characters of each control token that the tokenizer finds in a text.

        White space around a token does not belong to its span.
        """
        if not self._tokenizer.is_fast:
            return [match.span() for match in self._occurs.finditer(text)]
        encoding = self._backend.encode(text, add_special_tokens=False)
        spans = []
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            token = text[start:end].strip()
            if token_id not in self._contents or not token:
                continue
            if token_id in self._unknown and not self._occurs.fullmatch(token):
                continue  # an unknown word
            start = text.index(token, start)
            spans.append((start, start + len(token)))
        return spans


def _unknown_ids(tokenizer: Any) -> set[int]:
    """Return the token ids that stand for unknown words: the tokenizer's own and its backend model's."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    named = getattr(getattr(backend, "model", None), "unk_token", None)
    ids = {tokenizer.unk_token_id, backend.token_to_id(named) if backend is not None and named else None}
    return {token_id for token_id in ids if token_id is not None}


def _is_control(content: str, is_special: bool, chat_template: str) -> bool:
    """Return whether a token is a control token by the rule that `ControlTokens` states.

    Args:
        content: the token's text.
        is_special: whether the tokenizer calls it special.
        chat_template: the template's source, empty without one.
    """
    if len(content.strip()) < 2:
        return False
    is_written = _BRACKETED.fullmatch(content) is not None and content in chat_template
    return is_special or is_written or _MARKER.fullmatch(content) is not None


def _pattern_of(contents: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches any of the texts, the longest first; without texts, nothing."""
    longest_first = sorted(set(contents), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _replace_spans(text: str, spans: Sequence[tuple[int, int]], edit: Callable[[str], str]) -> str:
    """Return the text with the characters of each (start, end) span replaced by `edit` of them."""
    pieces, position = [], 0
    for start, end in spans:
        pieces += [text[position:start], edit(text[start:end])]
        position = end
    return "".join([*pieces, text[position:]])
