"""Intervals and tests agree with independent computations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchmarks.statistics import Statistic, bootstrap_interval, holm, paired_t_test

GENERATOR = np.random.default_rng(5)
A = GENERATOR.normal(0.5, 0.2, 43)
B = A + GENERATOR.normal(0.05, 0.1, 43)


@pytest.mark.parametrize(("statistic", "function"), [("mean", np.mean), ("median", np.median)])
def test_bootstrap_intervals_agree_with_scipy(statistic: Statistic, function: Any) -> None:
    low, high = bootstrap_interval(A, statistic)
    theirs = scipy.stats.bootstrap(
        (A,), function, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.008)


def test_bootstrap_intervals_narrow_with_the_root_of_the_sample() -> None:
    values = GENERATOR.normal(0, 1, 400)
    widths = [np.subtract(*bootstrap_interval(np.tile(values, times))) for times in (1, 4)]
    assert widths[0] / widths[1] == pytest.approx(2.0, rel=0.05)


def test_bootstrap_intervals_are_the_same_every_time() -> None:
    assert bootstrap_interval(A, "p95") == bootstrap_interval(A, "p95")


def test_bootstrap_intervals_of_almost_nothing() -> None:
    assert bootstrap_interval([0.3]) == (0.3, 0.3)
    assert np.isnan(bootstrap_interval([])).all()


def test_the_t_test_agrees_with_scipy() -> None:
    assert paired_t_test(A, B) == pytest.approx(scipy.stats.ttest_rel(A, B).pvalue)


def test_systems_that_never_differ_have_p_one() -> None:
    assert paired_t_test(A, A) == 1.0
    assert paired_t_test([0.1], [0.9]) == 1.0


def test_systems_that_always_differ_alike_have_p_zero() -> None:
    assert paired_t_test([1.0, 2.0, 3.0], [0.5, 1.5, 2.5]) == 0.0


def test_samples_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        paired_t_test([1.0], [1.0, 2.0])


def test_holm_multiplies_the_smallest_by_their_number_and_never_decreases() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {
        "a": pytest.approx(3 * 0.01),
        "b": pytest.approx(2 * 0.03),  # 1 * 0.04 would be smaller than its predecessor
        "c": pytest.approx(2 * 0.03),
    }
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
