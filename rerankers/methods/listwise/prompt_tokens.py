"""Estimates the length of listwise prompts from their templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.listwise.prompts import ListwisePrompt
    from rerankers.work import RequestSize

TURN_TOKENS = 4
"""That a chat template puts around a turn."""


def prompt_tokens(
    prompt: ListwisePrompt, size: RequestSize, counts: Sequence[int], passage_tokens: float
) -> float:
    """Return the tokens of prompts that show so many passages each, together.

    Args:
        prompt: the template.
        size: of the request.
        counts: passages of each prompt.
        passage_tokens: of a passage, as far as it is shown.
    """

    def tokens(passages: int) -> float:
        messages = prompt.messages("", [""] * passages)
        return sum(size.tokens_of(message["content"]) + TURN_TOKENS for message in messages)

    queries = sum(turn.get("content", "").count("{query}") for turn in prompt.turns)
    frame, around = tokens(0) + queries * size.query_tokens, tokens(1) - tokens(0)
    return len(counts) * frame + sum(counts) * (passage_tokens + around)
