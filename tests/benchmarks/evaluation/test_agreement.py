"""The agreement of two judges."""

from __future__ import annotations

import pytest

from benchmarks.evaluation.agreement import agreement, cohens_kappa


def test_kappa_of_cohens_definition() -> None:
    # 20 both yes, 5 and 10 mixed, 15 both no: observed 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    grades = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    assert cohens_kappa(grades) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_equal_judges_agree_and_contrary_ones_do_not() -> None:
    assert cohens_kappa([(0, 0), (3, 3)]) == 1.0
    assert cohens_kappa([(0, 3), (3, 0)]) == -1.0


def test_kappa_is_not_defined_where_one_grade_was_given_throughout() -> None:
    assert cohens_kappa([(2, 2), (2, 2)]) is None
    assert cohens_kappa([]) is None


def test_the_confusion_counts_each_pair_of_grades() -> None:
    agreed = agreement([(0, 0), (0, 2), (3, 2), (3, 2)], relevant_from=2)
    assert agreed is not None
    assert agreed.confusion == {(0, 0): 1, (0, 2): 1, (3, 2): 2}
    assert (agreed.passages, agreed.equal) == (4, 0.25)
    assert agreed.kappa_relevant == pytest.approx((0.75 - 0.5) / (1 - 0.5))  # one of four differs
    assert agreement([], relevant_from=2) is None
