"""Reads what an endpoint sent: who answered, why it stopped, and what it counted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rerankers.llm.chat import ChatCall, End
    from rerankers.llm.recording import Exchange

_BYTES_PER_TOKEN = 4  # rule of thumb for English, used only where an endpoint reports no usage
ESTIMATED = f"an estimate of {_BYTES_PER_TOKEN} bytes a token"


def end_of(finish_reason: str | None, refusal: str | None) -> End:
    """Why an answer stopped, from what the endpoint calls it."""
    if finish_reason == "content_filter" or refusal:
        return "refused"
    return "cut_off" if finish_reason == "length" else "done"


def identify(exchange: Exchange, response: Any) -> None:
    """Note which model answered."""
    exchange.served_model = str(getattr(response, "model", "") or "")
    exchange.fingerprint = str(getattr(response, "system_fingerprint", "") or "")


def piece_of(chunk: Any) -> str:
    """The text that a chunk adds, of the answer or of the reasoning before it."""
    if not getattr(chunk, "choices", None):
        return ""
    delta = chunk.choices[0].delta
    return (
        delta.content or getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None) or ""
    )


def latest_of(chunk: Any, usage: Any, finish: str | None) -> tuple[Any, str | None]:
    """The usage and the finish reason reported so far."""
    choices = getattr(chunk, "choices", None)
    return getattr(chunk, "usage", None) or usage, (choices and choices[0].finish_reason) or finish


def count_tokens(exchange: Exchange, call: ChatCall, usage: Any, pieces: int | None = None) -> None:
    """Tokens as reported; without a report, an estimate, in which each chunk of a stream is one token."""
    if usage is not None and usage.prompt_tokens is not None and usage.completion_tokens is not None:
        exchange.prompt_tokens = usage.prompt_tokens
        exchange.generated_tokens = usage.completion_tokens
        details = usage.prompt_tokens_details
        exchange.cached_tokens = (details.cached_tokens or 0) if details else 0
        return
    exchange.counted_by = ESTIMATED
    exchange.prompt_tokens = estimate_prompt(call)
    exchange.generated_tokens = _tokens(exchange.text) if pieces is None else pieces


def estimate_prompt(call: ChatCall) -> int:
    """Tokens of a prompt by rule of thumb."""
    return sum(_tokens(message["content"]) for message in call.messages)


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)
