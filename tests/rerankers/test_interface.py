"""Rankings are permutations with scores that every evaluation tool orders alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankers.errors import InputError, ModelError
from rerankers.interface import Candidate, Cost, Ranking, RerankRequest, Usage, strictly_decreasing

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_request_refuses_the_same_passage_twice() -> None:
    twice = (Candidate("q", "d1", "a", 2.0), Candidate("q", "d1", "a", 1.0))
    with pytest.raises(InputError, match="'d1' twice"):
        RerankRequest("q", "query", twice)
    assert RerankRequest("q", "query", twice[:1]).doc_ids == {"d1"}


@pytest.mark.parametrize("order", [[0, 0, 1], [0, 1], [0, 1, 3], [0, 1, 2, 3]])
def test_only_a_permutation_becomes_a_ranking(
    order: list[int], make_request: Callable[..., RerankRequest]
) -> None:
    with pytest.raises(ModelError, match="not a permutation"):
        Ranking.of(make_request("query", ["a", "b", "c"]), order, Cost())


def test_without_scores_the_first_of_three_scores_three(make_request: Callable[..., RerankRequest]) -> None:
    ranking = Ranking.of(make_request("query", ["a", "b", "c"]), [2, 0, 1], Cost())
    assert ranking.doc_ids == ("d2", "d0", "d1")
    assert ranking.scores == (3.0, 2.0, 1.0)


def test_equal_scores_keep_the_first_stage_order(make_request: Callable[..., RerankRequest]) -> None:
    ranking = Ranking.by_score(make_request("query", ["a", "b", "c", "d"]), [0.5, 0.9, 0.5, 0.5], Cost())
    assert ranking.doc_ids == ("d1", "d0", "d2", "d3")


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_an_error(
    score: float, make_request: Callable[..., RerankRequest]
) -> None:
    with pytest.raises(ModelError, match="scored a passage"):
        Ranking.by_score(make_request("query", ["a", "b"]), [0.0, score], Cost())


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32)))
def test_scores_are_distinct_to_a_32_bit_reader_and_moved_only_where_they_tie(scores: list[float]) -> None:
    descending = sorted(scores, reverse=True)
    result = np.array(strictly_decreasing(descending), dtype=np.float32)
    assert (np.diff(result) < 0).all()
    if len(set(descending)) == len(descending):
        assert result.tolist() == descending


def test_faults_are_counted_by_kind() -> None:
    usage = Usage()
    usage.fault("missing", 3)
    usage.fault("missing")
    usage.fault("duplicate", 0)
    assert usage.faults == {"missing": 4}


def test_a_request_is_made_of_texts_by_id_in_their_order() -> None:
    request = RerankRequest.of("query", {"b": "first", "a": "second"}, query_id="q7")
    assert [(c.query_id, c.doc_id, c.text, c.score) for c in request.candidates] == [
        ("q7", "b", "first", 2.0),
        ("q7", "a", "second", 1.0),
    ]
    assert RerankRequest.of("query", {}).candidates == ()
