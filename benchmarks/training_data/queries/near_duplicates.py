"""Finds near duplicates of a query among many queries.

The rule: texts are normalized (NFKC, case folded) and split into words; in scripts without spaces a few
characters count as one word. Two queries are near duplicates if they have the same words in the same order,
if the Jaccard similarity of their sets of words is at least 0.8, or if that of their runs of three words is
at least 0.5. The first finds another spelling, the second another order or one more word, the third a long
query with a few words replaced.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from rerankers.text.words import split_words

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

LEAST_WORD_SIMILARITY = 0.8
LEAST_RUN_SIMILARITY = 0.5
RUN_LENGTH = 3
RULE = (
    f"the same words, a Jaccard similarity of words of at least {LEAST_WORD_SIMILARITY}, or of runs of "
    f"{RUN_LENGTH} words of at least {LEAST_RUN_SIMILARITY}"
)
"""The rule in one sentence, for people."""

_WORD = re.compile(r"\w+")


class NearDuplicate(NamedTuple):
    """A query that another one repeats, with their Jaccard similarity."""

    text: str
    similarity: float


def normalized_words(text: str) -> tuple[str, ...]:
    """Return a text's words in order: NFKC, case folded, without punctuation."""
    spelled = unicodedata.normalize("NFKC", text).casefold()
    return tuple(chain.from_iterable(_WORD.findall(word) for word in split_words(spelled)))


def runs_of(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """Return the set of all runs of three consecutive words; a shorter text is one run."""
    count = max(1, len(words) - RUN_LENGTH + 1)
    return (
        frozenset(tuple(words[start : start + RUN_LENGTH]) for start in range(count))
        if words
        else frozenset()
    )


def jaccard(left: frozenset[Hashable], right: frozenset[Hashable]) -> float:
    """Return the Jaccard similarity of two sets, intersection over union; 0 if both are empty."""
    union = len(left | right)
    return len(left & right) / union if union else 0.0


class NearDuplicates:
    """An index of queries that finds the one which a new query equals or nearly equals.

    Args:
        texts: the queries; those without a word are never found.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = list(dict.fromkeys(texts))
        words = [normalized_words(text) for text in self._texts]
        self._words = _SetIndex([frozenset(query_words) for query_words in words], LEAST_WORD_SIMILARITY)
        self._runs = _SetIndex([runs_of(query_words) for query_words in words], LEAST_RUN_SIMILARITY)

    def __len__(self) -> int:
        return len(self._texts)

    def find(self, text: str) -> NearDuplicate | None:
        """Return the most similar query that the text repeats by the rule, or None.

        Of equal ones the first.
        """
        words = normalized_words(text)
        best: NearDuplicate | None = None
        for index, elements in ((self._words, frozenset(words)), (self._runs, runs_of(words))):
            for position, similarity in sorted(index.find(elements).items()):
                if best is None or similarity > best.similarity:
                    best = NearDuplicate(self._texts[position], similarity)
        return best


class _SetIndex:
    """An index of sets that finds those whose Jaccard similarity to another set reaches a threshold.

    A set of n elements that is as similar as `least` to another one shares an element with it even if
    ceil(least n) - 1 of its own are left out. So only the rarest elements are looked up (prefix filtering:
    Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007).
    """

    def __init__(self, sets: Sequence[frozenset[Hashable]], least: float) -> None:
        self._sets, self._least = sets, least
        self._count: Mapping[Hashable, int] = Counter(chain.from_iterable(sets))
        self._places: dict[Hashable, list[int]] = {}
        for position, elements in enumerate(sets):
            for element in self._rarest(elements):
                self._places.setdefault(element, []).append(position)

    def find(self, elements: frozenset[Hashable]) -> dict[int, float]:
        """Return the similarity of each sufficiently similar set, by its position."""
        candidates = set(
            chain.from_iterable(self._places.get(element, ()) for element in self._rarest(elements))
        )
        similarities = {position: jaccard(elements, self._sets[position]) for position in candidates}
        return {position: value for position, value in similarities.items() if value >= self._least}

    def _rarest(self, elements: frozenset[Hashable]) -> list[Hashable]:
        """Return the rarest elements of a set, of which every similar set has at least one."""
        order = sorted(elements, key=lambda element: (self._count.get(element, 0), repr(element)))
        # A hair below, because 0.8 times 5 may round up past 4.
        return order[: len(order) - ceil(self._least * len(order) - 1e-9) + 1] if order else []
