"""Reads what an endpoint sent: the text, why it stopped, who answered, and what it counted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rerankers.http_retry import UnusableResponseError
from rerankers.llm.recording import BY_ENDPOINT, Exchange

if TYPE_CHECKING:
    from rerankers.llm.chat import ChatCall, End

_BYTES_PER_TOKEN = 4  # rule of thumb for English, used only where an endpoint reports no usage
ESTIMATED = f"an estimate of {_BYTES_PER_TOKEN} bytes a token"


def read_completion(completion: Any, call: ChatCall) -> Exchange:
    """The exchange that a whole answer amounts to, without its times.

    Raises:
        UnusableResponseError: it is no chat completion.
    """
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        exchange = Exchange(text=_text(message.get("content")))
        exchange.end = _end(choice.get("finish_reason"), message.get("refusal"))
        _identify(exchange, completion)
        _count(exchange, call, completion.get("usage"))
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise UnusableResponseError(f"no chat completion in {str(completion)[:100]!r}") from error
    return exchange


class GrowingAnswer:
    """An answer that comes in chunks.

    Attributes:
        exchange: what has come so far.
        has_begun: whether any text has come, of the answer or of the reasoning before it.
        is_known: whether all that the caller will read has come, though the answer goes on.
    """

    def __init__(self, call: ChatCall) -> None:
        self.exchange = Exchange()
        self.has_begun = False
        self.is_known = False
        self._call = call
        self._usage: Any = None
        self._finish: str | None = None
        self._refusal: str | None = None
        self._pieces = 0

    def add(self, chunk: Any) -> None:
        """Take the next chunk.

        Raises:
            UnusableResponseError: it is none, or says that the endpoint failed.
        """
        try:
            if chunk.get("error"):
                said = chunk["error"]
                raise UnusableResponseError(str(said.get("message") if isinstance(said, dict) else said))
            self._usage = chunk.get("usage") or self._usage
            _identify(self.exchange, chunk)
            for choice in chunk["choices"][:1]:
                delta = choice.get("delta") or {}
                text = _text(delta.get("content"))
                thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
                self._pieces += bool(text or thought)
                self.has_begun = self.has_begun or bool(text or thought)
                self.exchange.text += text
                self._refusal = delta.get("refusal") or self._refusal
                self._finish = choice.get("finish_reason") or self._finish
        except (AttributeError, KeyError, TypeError) as error:
            raise UnusableResponseError(f"no chunk of a chat completion in {str(chunk)[:100]!r}") from error
        self.is_known = self._finish is None and self._call.known(self.exchange.text)

    def finish(self) -> Exchange:
        """The exchange that all chunks amount to, without its times.

        Raises:
            UnusableResponseError: the answer was not over yet.
        """
        if self._finish is None and not self.is_known:
            raise UnusableResponseError("the stream ended before the answer did")
        self.exchange.end = "known" if self.is_known else _end(self._finish, self._refusal)
        try:
            _count(self.exchange, self._call, self._usage, self._pieces)
        except (AttributeError, TypeError) as error:
            raise UnusableResponseError(f"no usage in {str(self._usage)[:100]!r}") from error
        return self.exchange


def refused(call: ChatCall) -> Exchange:
    """The exchange of a call whose content the endpoint did not accept."""
    return Exchange(end="refused", prompt_tokens=_estimate_prompt(call), counted_by=ESTIMATED)


def _end(finish_reason: str | None, refusal: str | None) -> End:
    """Why an answer stopped, from what the endpoint calls it."""
    if finish_reason == "content_filter" or refusal:
        return "refused"
    return "cut_off" if finish_reason == "length" else "done"


def _identify(exchange: Exchange, response: Any) -> None:
    """Note which model answered."""
    exchange.served_model = str(response.get("model") or "") or exchange.served_model
    exchange.fingerprint = str(response.get("system_fingerprint") or "") or exchange.fingerprint


def _count(exchange: Exchange, call: ChatCall, usage: Any, pieces: int | None = None) -> None:
    """Tokens as reported; without a report, an estimate, in which each chunk of a stream is one token."""
    usage = usage or {}
    if usage.get("prompt_tokens") is not None and usage.get("completion_tokens") is not None:
        exchange.counted_by = BY_ENDPOINT
        exchange.prompt_tokens = _tokens_reported(usage, "prompt_tokens")
        exchange.generated_tokens = _tokens_reported(usage, "completion_tokens")
        exchange.cached_tokens = _tokens_reported(usage.get("prompt_tokens_details") or {}, "cached_tokens")
        details = usage.get("completion_tokens_details") or {}
        exchange.reasoning_tokens = _tokens_reported(details, "reasoning_tokens")
        return
    exchange.counted_by = ESTIMATED
    exchange.prompt_tokens = _estimate_prompt(call)
    exchange.generated_tokens = _tokens(exchange.text) if pieces is None else pieces


def _text(value: Any) -> str:
    """Text that may be left out; a `TypeError` if it is something else."""
    if value is not None and not isinstance(value, str):
        raise TypeError("no text")
    return value or ""


def _tokens_reported(counts: Any, name: str) -> int:
    """A count that may be left out; a `TypeError` if it is none."""
    count = counts.get(name) or 0
    if not isinstance(count, int) or count < 0:
        raise TypeError("no count")
    return int(count)


def _estimate_prompt(call: ChatCall) -> int:
    return sum(_tokens(message["content"]) for message in call.messages)


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode(errors="replace")) / _BYTES_PER_TOKEN)
