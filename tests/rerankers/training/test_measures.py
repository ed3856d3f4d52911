"""Held-out lists are measured as trec_eval would, against the teacher's order and against judgements."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from ir_measures import nDCG

from rerankers.training.measures import JUDGED, TEACHER, HeldOutLists, gold_ndcg

RANKINGS = [(2, 0, 1), (0, 1, 2)]
GRADES = [(1, None, 2), (0, 0, 0)]


def lists() -> HeldOutLists:
    grades = [tuple(grade or 0 for grade in row) for row in GRADES]
    return HeldOutLists(RANKINGS, [(0, 1, 2), (0, 1, 2)], grades, [(3,), ()])


def test_judgements_count_as_ir_measures_counts_them() -> None:
    orders = [[0, 2, 1], [1, 2, 0]]
    qrels = {"0": {"p0": 1, "p2": 2, "elsewhere": 3}, "1": {"p0": 0, "p1": 0, "p2": 0}}
    run = {
        str(number): {f"p{passage}": 3.0 - rank for rank, passage in enumerate(order)}
        for number, order in enumerate(orders)
    }
    expected = ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10]
    assert lists().measure(orders)[JUDGED] == pytest.approx(expected)


def test_the_teacher_s_measure_is_the_mean_over_all_lists() -> None:
    orders = [[2, 0, 1], [1, 0, 2]]
    means = lists().measure(orders)
    assert means[TEACHER] == pytest.approx((1 + gold_ndcg([1, 0, 2], (0, 1, 2))) / 2)


def test_chance_is_the_mean_over_all_orders() -> None:
    from itertools import permutations

    held_out = HeldOutLists([(2, 0, 1)], None, [(1, 0, 2)], [(3,)])
    values = [held_out.measure([order]) for order in permutations(range(3))]
    for name, expected in held_out.references()["chance"].items():
        assert np.mean([means[name] for means in values]) == pytest.approx(expected)


def test_lists_without_a_first_stage_are_compared_with_the_order_of_the_input() -> None:
    assert set(HeldOutLists([(1, 0)]).references()) == {"input order", "teacher", "chance"}
    assert set(lists().references()) == {"first stage", "teacher", "chance"}
    assert HeldOutLists([(1, 0)]).references()["teacher"] == {TEACHER: 1.0}
