"""Measures count every judged query."""

from __future__ import annotations

import random
from math import log2

import pytest

from benchmarks.evaluation.measures import DEFAULT_MEASURES, Evaluator, evaluate
from rerankers.errors import InputError

QRELS = {"q1": {"a": 1, "b": 0}, "q2": {"z": 2}}


def test_a_judged_query_without_a_ranking_counts_zero() -> None:
    values = evaluate({"q1": [("a", 2.0), ("b", 1.0)]}, QRELS, ["nDCG@10", "RR@10", "Judged@10", "P@5"])
    assert values["nDCG@10"] == {"q1": 1.0, "q2": 0.0}
    assert values["RR@10"] == {"q1": 1.0, "q2": 0.0}
    assert values["Judged@10"] == {"q1": 1.0, "q2": 0.0}
    assert values["P@5"] == {"q1": pytest.approx(1 / 5), "q2": 0.0}


def test_an_empty_ranking_counts_zero() -> None:
    assert evaluate({"q1": [("a", 1.0)], "q2": []}, QRELS, ["nDCG@10"])["nDCG@10"]["q2"] == 0.0
    assert evaluate({}, QRELS, ["nDCG@10"]) == {"nDCG@10": {"q1": 0.0, "q2": 0.0}}


def test_the_ideal_ranking_knows_the_passages_that_were_not_retrieved() -> None:
    qrels = {"q": {"far": 1, "near": 1}}
    value = evaluate({"q": [("other", 2.0), ("near", 1.0)]}, qrels, ["nDCG@10"])["nDCG@10"]["q"]
    assert value == pytest.approx((1 / log2(3)) / (1 / log2(2) + 1 / log2(3)))


def test_queries_nobody_judged_are_left_out() -> None:
    values = evaluate({"q1": [("a", 1.0)], "unjudged": [("a", 1.0)]}, QRELS, ["nDCG@10"])
    assert list(values["nDCG@10"]) == ["q1", "q2"]


def test_two_spellings_of_one_measure_both_get_their_values() -> None:
    values = evaluate({"q1": [("b", 2.0), ("a", 1.0)]}, QRELS, ["AP", "MAP"])
    assert values["AP"] == values["MAP"] == {"q1": 0.5, "q2": 0.0}


def test_the_default_measures_can_all_be_computed() -> None:
    assert list(evaluate({"q1": [("a", 1.0)]}, QRELS, DEFAULT_MEASURES)) == list(DEFAULT_MEASURES)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nDGC@10", "did you mean nDCG"), ("nDCG@ten", "cannot read"), ("alpha_nDCG@10", "pip install")],
)
def test_a_measure_that_cannot_be_computed_is_refused(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        evaluate({}, QRELS, [name])


SAME_AS_IR_MEASURES = [
    *("nDCG@10", "nDCG@3", "nDCG", "AP", "AP@5", "AP(rel=2)", "RR@10", "RR", "RR(rel=2)@5"),
    *("P@5", "P(rel=2)@10", "R@20", "R(rel=2)@5", "Judged@10", "Judged", "Success@5", "Bpref"),
]


@pytest.mark.parametrize("name", SAME_AS_IR_MEASURES)
def test_many_systems_at_once_get_the_values_of_ir_measures_to_the_last_digit(name: str) -> None:
    draw = random.Random(0)
    qrels = {
        f"q{i}": {f"d{j}": draw.choice([-1, 0, 0, 1, 2, 3]) for j in draw.sample(range(60), i % 40)}
        for i in range(200)
    }
    orders = {
        query_id: [f"d{j}" for j in draw.sample(range(60), draw.choice([0, 1, 7, 40, 60]))]
        for query_id in [*qrels, "unjudged"]
        if query_id != "q7"
    }
    scored = {query_id: [(d, float(-rank)) for rank, d in enumerate(ids)] for query_id, ids in orders.items()}
    qrels = {query_id: grades for query_id, grades in qrels.items() if grades}
    assert Evaluator(qrels, [name]).evaluate(orders) == evaluate(scored, qrels, [name])
