"""Estimates of the windows, calls and tokens of one request, made before a model is loaded.

The dry run and budgets read these numbers. Each options model computes its own in `MethodOptions.work`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

MS_MARCO_PASSAGE_TOKENS = 75
"""Of an MS MARCO passage, which has 56 words on average."""

_PIECE = re.compile(r"\w+|[^\w\s]")
_WORDS_PER_PIECE = 7 / 8  # of running English text, whose eighth piece is a sign


@dataclass(frozen=True, slots=True)
class RequestSize:
    """The size of a request: candidates, and mean tokens of query and passages.

    Attributes:
        candidates: passages to rank.
        query_tokens: tokens of the query.
        passage_tokens: tokens of a passage on average.
        tokens_per_word: of running text, for limits and prompt templates that are counted in words.
    """

    candidates: int
    query_tokens: float = 8.0
    passage_tokens: float = MS_MARCO_PASSAGE_TOKENS
    tokens_per_word: float = 4 / 3

    def tokens_of(self, text: str) -> float:
        """Return the estimated number of tokens of a prompt template.

        It has more punctuation than running text, so words and signs are counted.
        """
        return len(_PIECE.findall(text)) * self.tokens_per_word * _WORDS_PER_PIECE


@dataclass(frozen=True, slots=True)
class Work:
    """An estimate of the work of a request: windows, calls and tokens.

    Attributes:
        windows: groups of passages that are ranked together.
        llm_calls: calls of a language model, or of an endpoint.
        sequential_calls: calls that have to wait for the ones before.
        prompt_tokens: tokens of prompts, those in a cache included.
        generated_tokens: tokens of outputs in the form asked for.
        most_generated_tokens: tokens after which all outputs are stopped.
        passages_embedded: passages that an encoder reads, unless a store holds them.
        depends_on_answers: whether windows and calls depend on the model's outputs; the numbers then assume a
            random order of relevance.
    """

    windows: int = 0
    llm_calls: int = 0
    sequential_calls: int = 0
    prompt_tokens: float = 0.0
    generated_tokens: float = 0.0
    most_generated_tokens: float = 0.0
    passages_embedded: int = 0
    depends_on_answers: bool = False

    def __add__(self, other: Work) -> Work:
        """Return the sum of two amounts of work, done one after the other."""
        totals = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Work)}
        return Work(**{**totals, "depends_on_answers": self.depends_on_answers or other.depends_on_answers})
