"""Parses an endpoint's chat completions, whole or streamed: text, finish reason, model, token counts.

Counts that cannot be right (negative, more cached tokens than the prompt has, `true`, 10^9) are not taken
over: the call's tokens are then an estimate, which says why.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rerankers.endpoints.error_body import error_message
from rerankers.endpoints.exchange import Exchange, read_count
from rerankers.endpoints.failures import UnusableResponseError
from rerankers.text.redaction import excerpt

if TYPE_CHECKING:
    from rerankers.chat.conversation import ChatCall
    from rerankers.endpoints.exchange import End

_BYTES_PER_TOKEN = 4  # rule of thumb for English, used only where an endpoint reports no usage
_LONGEST_NAME = 200  # characters
_TEXT_PARTS = ("text", "output_text")  # others hold what the model thought
ESTIMATED = f"an estimate of {_BYTES_PER_TOKEN} bytes a token"
UNREPORTED = f"{ESTIMATED}, because the endpoint reports no usage"
ENDED_EARLY = f"{ESTIMATED}, because the stream was ended before its usage came"


def read_completion(completion: Any, call: ChatCall) -> Exchange:
    """Parse the JSON of a whole completion into an `Exchange`, its times left out.

    Args:
        completion: the decoded response.
        call: the call it answers, from which tokens are estimated where the endpoint counts none.

    Raises:
        UnusableResponseError: it is not a chat completion.
    """
    exchange = Exchange()
    usage = completion.get("usage") if isinstance(completion, dict) else None
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        exchange.text = _text(message.get("content"))
        exchange.end = _end(choice.get("finish_reason"), message.get("refusal"))
        _identify(exchange, completion)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        message_text = (
            error_message(completion) if isinstance(completion, dict) and "error" in completion else ""
        )
        reason = excerpt(message_text, 200) or f"no chat completion in {excerpt(completion, 100)!r}"
        raise UnusableResponseError(reason, _reported(usage)) from error
    _count(exchange, call, usage)
    return exchange


class GrowingCompletion:
    """A completion that arrives in chunks of a stream.

    Args:
        call: the call it answers, whose stop condition is checked after each chunk.
        asks_usage: whether the endpoint was asked for its token counts, which come at the end.

    Attributes:
        exchange: what has come so far.
        has_begun: whether any text has come, of the answer or of the reasoning before it.
        is_complete: whether the stop condition is met, though the model goes on writing.
    """

    def __init__(self, call: ChatCall, asks_usage: bool = True) -> None:
        self.exchange = Exchange()
        self.has_begun = False
        self.is_complete = False
        self._call = call
        self._asks_usage = asks_usage
        self._usage: Any = None
        self._finish: str | None = None
        self._refusal: str | None = None
        self._pieces = 0

    def add(self, chunk: Any) -> None:
        """Add the next chunk (decoded JSON): append its text, and note its usage and finish reason.

        Raises:
            UnusableResponseError: it is not a chunk, or says that the endpoint failed.
        """
        try:
            if chunk.get("error"):
                raise UnusableResponseError(excerpt(error_message(chunk) or chunk, 200))
            _identify(self.exchange, chunk)
            for choice in chunk["choices"][:1]:
                delta = choice.get("delta") or {}
                text = _text(delta.get("content"))
                thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
                self._pieces += bool(text or thought)
                if text or thought:
                    self._usage = None  # what was counted before does not count this
                self.has_begun = self.has_begun or bool(text or thought)
                self.exchange.text += text
                self._refusal = delta.get("refusal") or self._refusal
                self._finish = choice.get("finish_reason") or self._finish
            self._usage = chunk.get("usage") or self._usage
        except (AttributeError, KeyError, TypeError) as error:
            start = excerpt(chunk, 100)
            raise UnusableResponseError(f"no chunk of a chat completion in {start!r}") from error
        self.is_complete = self._finish is None and (
            self.is_complete or self._call.stop_condition(self.exchange.text)
        )

    @property
    def has_usage(self) -> bool:
        """True if the endpoint has reported the tokens of all that has come."""
        return _reported(self._usage) is not None

    def finish(self) -> Exchange:
        """Return the `Exchange` of all chunks together, its times left out.

        Raises:
            UnusableResponseError: the stream broke off before the completion ended.
        """
        if self._finish is None and not self.is_complete:
            raise UnusableResponseError("the stream ended before the answer did", _reported(self._usage))
        self.exchange.end = "known" if self.is_complete else _end(self._finish, self._refusal)
        _count(self.exchange, self._call, self._usage, self._pieces)
        if self.is_complete and self._asks_usage and self.exchange.counted_by == UNREPORTED:
            self.exchange.counted_by = ENDED_EARLY
        return self.exchange


def refused() -> Exchange:
    """Return the exchange of a call that the endpoint's content filter refused: no text and no tokens."""
    return Exchange(end="refused")


def _end(finish_reason: str | None, refusal: str | None) -> End:
    """Map the endpoint's finish reason and refusal text to an `End`: refused, cut off or done."""
    if finish_reason == "content_filter" or refusal:
        return "refused"
    return "cut_off" if finish_reason == "length" else "done"


def _identify(exchange: Exchange, response: Any) -> None:
    """Copy the model's name and fingerprint from a response into the exchange, if it states them."""
    exchange.served_model = _name(response.get("model")) or exchange.served_model
    exchange.fingerprint = _name(response.get("system_fingerprint")) or exchange.fingerprint


def _name(value: Any) -> str:
    """Return a name from a response as text that may be recorded: at most 200 characters, without secrets."""
    text = "" if value is None else str(value)
    return _short_name(text) if len(text) <= _LONGEST_NAME else excerpt(text, _LONGEST_NAME)


@lru_cache(maxsize=64)
def _short_name(text: str) -> str:
    """Return the name without secrets; cached, since each chunk of a stream repeats it."""
    return excerpt(text, _LONGEST_NAME)


def _count(exchange: Exchange, call: ChatCall, usage: Any, pieces: int | None = None) -> None:
    """Set the exchange's token counts: those that the endpoint reports, else an estimate that says why.

    Args:
        exchange: takes the counts.
        call: whose prompt is estimated.
        usage: as the endpoint reports it.
        pieces: chunks of a stream, each estimated as one token; None for a whole completion.
    """
    counted = _reported(usage)
    if counted is not None:
        exchange.prompt_tokens, exchange.cached_tokens = counted.prompt_tokens, counted.cached_tokens
        exchange.generated_tokens = counted.generated_tokens
        exchange.reasoning_tokens = counted.reasoning_tokens
        return
    exchange.counted_by = (
        f"{ESTIMATED}, because the endpoint reports {excerpt(usage, 100)}" if usage else UNREPORTED
    )
    exchange.prompt_tokens = sum(_tokens(message["content"]) for message in call.messages)
    exchange.generated_tokens = _tokens(exchange.text) if pieces is None else pieces


def _reported(usage: Any) -> Exchange | None:
    """Return the token counts that `usage` reports, as an exchange; None for none or impossible ones."""
    if not isinstance(usage, dict):
        return None
    details = [usage.get(name) or {} for name in ("prompt_tokens_details", "completion_tokens_details")]
    if not all(isinstance(detail, dict) for detail in details):
        return None
    prompt, generated = read_count(usage.get("prompt_tokens")), read_count(usage.get("completion_tokens"))
    cached, reasoning = (
        read_count(details[0].get("cached_tokens") or 0),
        read_count(details[1].get("reasoning_tokens") or 0),
    )
    if prompt is None or generated is None or cached is None or reasoning is None or cached > prompt:
        return None
    return Exchange(
        prompt_tokens=prompt, cached_tokens=cached, generated_tokens=generated, reasoning_tokens=reasoning
    )


def _text(value: Any) -> str:
    """Return a message's content as one string; it may be null (empty), a string or a list of parts.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, list):
        parts = [part if isinstance(part, dict) else {"text": part} for part in value]
        return "".join(_text(part.get("text")) for part in parts if part.get("type", "text") in _TEXT_PARTS)
    if value is not None and not isinstance(value, str):
        raise TypeError("not a text")
    return value or ""


def _tokens(text: str) -> int:
    """Estimate the tokens of a text from its bytes."""
    return math.ceil(len(text.encode(errors="replace")) / _BYTES_PER_TOKEN)
