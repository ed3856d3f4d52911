"""Near duplicates of queries are found by one stated rule, and as quickly as without reading all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.training_data.queries.near_duplicates import (
    LEAST_RUN_SIMILARITY,
    LEAST_WORD_SIMILARITY,
    NearDuplicates,
    jaccard,
    normalized_words,
    runs_of,
)


@pytest.mark.parametrize(
    ("left", "right", "similarity"),
    [
        ("What is a B-tree?", "what is a b tree", 1.0),  # case and punctuation
        ("ﬁle systems", "File  Systems", 1.0),
        ("effects of caffeine on sleep", "caffeine effects on sleep", 0.8),  # 4 of 5 words
        ("effects of caffeine on sleep", "effect of caffeine on sleep", 0.5),  # 2 of 4 runs, 4 of 6 words
        ("time sharing system for IBM", "for IBM time sharing system", 1.0),  # another order
        ("検索の評価", "検索の評価。", 1.0),
        ("the design of very large fast search engines", "the design of very large search engines", 0.875),
    ],
)
def test_another_spelling_order_or_one_word_more_is_a_near_duplicate(
    left: str, right: str, similarity: float
) -> None:
    for query, other in ((left, right), (right, left)):
        duplicate = NearDuplicates([other]).find(query)
        assert duplicate is not None
        assert duplicate.text == other
        assert duplicate.similarity == pytest.approx(similarity)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("effects of caffeine on sleep", "effects of coffee on blood pressure"),
        ("operating systems", "systems"),
        ("sorting by merging", "sorting by partitioning"),
        ("???", "!!!"),
        ("", ""),
    ],
)
def test_other_queries_of_the_same_field_are_not(left: str, right: str) -> None:
    assert NearDuplicates([right]).find(left) is None


def test_the_most_similar_query_is_named() -> None:
    queries = ["paging in virtual memory systems now", "paging in virtual memory systems"]
    duplicate = NearDuplicates(queries).find("Paging in virtual memory systems!")
    assert duplicate == ("paging in virtual memory systems", 1.0)


WORDS = st.text("abcdefg", max_size=8).map(" ".join)


@given(st.lists(WORDS, max_size=6), WORDS)
def test_no_near_duplicate_is_missed(queries: list[str], query: str) -> None:
    words = normalized_words(query)
    similar = [
        max(
            jaccard(frozenset(words), frozenset(normalized_words(other))) >= LEAST_WORD_SIMILARITY,
            jaccard(runs_of(words), runs_of(normalized_words(other))) >= LEAST_RUN_SIMILARITY,
        )
        for other in queries
    ]
    assert (NearDuplicates(queries).find(query) is not None) == any(similar)
