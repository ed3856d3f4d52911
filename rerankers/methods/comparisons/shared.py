"""Options of methods that show a chat model a few passages at a time and sort by its answers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from rerankers.methods.chat import ChatOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from rerankers.comparisons.sorting import Best
    from rerankers.work import RequestSize

T = TypeVar("T")
LABEL_TOKENS = 4
"""Of `Passage A: ` and the empty line before the next passage."""
ANSWER_TOKENS = 3
"""Of `Passage A`."""


class ComparisonOptions(ChatOptions):
    """Options of the number of passages and words that are compared."""

    top: int = Field(default=10, ge=1)
    """Ranks that are settled, ten in the papers: passes of a bubble sort, or ranks taken from a heap."""

    passage_words: int = Field(default=100, ge=1)
    """Passages are cut after this many words."""

    max_new_tokens: int = Field(default=8, ge=1)
    """Longest answer."""

    def work_of_comparisons(self, size: RequestSize, prompt: str, passage_counts: Sequence[int]) -> Work:
        """Return what calls take that each show so many passages, one after the other."""
        passage = min(size.passage_tokens, self.passage_words * size.tokens_per_word) + LABEL_TOKENS
        frame = size.tokens_of(prompt) + size.query_tokens
        return Work(
            llm_calls=len(passage_counts),
            sequential_calls=len(passage_counts),
            prompt_tokens=len(passage_counts) * frame + sum(passage_counts) * passage,
            generated_tokens=len(passage_counts) * (ANSWER_TOKENS + self.reasoning_tokens),
            most_generated_tokens=len(passage_counts) * (self.max_new_tokens + self.reasoning_tokens),
            depends_on_answers=True,
        )


def expected_comparisons(
    count: int, sort: Callable[[Best[None, None]], Generator[None, None, T]]
) -> list[tuple[int, int]]:
    """Return the comparisons of a sort whose input order says nothing of relevance.

    Args:
        count: how many passages.
        sort: from a comparator, a sort of `rerankers.comparisons.sorting`.

    Returns:
        passages shown, and the position of the best of them, comparison by comparison.
    """
    relevance = list(range(count))
    random.Random(0).shuffle(relevance)  # noqa: S311 - no secret
    comparisons: list[tuple[int, int]] = []

    def best(items: Sequence[int]) -> Generator[None, None, int]:
        winner = min(range(len(items)), key=lambda position: relevance[items[position]])
        comparisons.append((len(items), winner))
        yield
        return winner

    for _ in sort(best):
        pass
    return comparisons
