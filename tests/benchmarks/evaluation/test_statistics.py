"""Intervals and tests agree with independent computations."""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.stats

from benchmarks.evaluation.pairwise import TIE, compare_all
from benchmarks.evaluation.statistics import (
    Statistic,
    bonferroni,
    bootstrap_interval,
    equivalence_test,
    holm,
    mean_intervals,
    paired_t_test,
    permutation_test,
)

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATOR = np.random.default_rng(5)
A = GENERATOR.normal(0.5, 0.2, 43)
B = A + GENERATOR.normal(0.05, 0.1, 43)


def p95(values: Any, axis: int = -1) -> Any:
    return np.quantile(values, 0.95, axis=axis)


@pytest.mark.parametrize(("statistic", "function"), [("mean", np.mean), ("median", np.median), ("p95", p95)])
def test_bootstrap_intervals_agree_with_scipy(statistic: Statistic, function: Any) -> None:
    low, high = bootstrap_interval(A, statistic)
    theirs = scipy.stats.bootstrap(
        (A,), function, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.008)


def test_intervals_of_many_samples_are_those_of_each_to_the_last_digit() -> None:
    wide = GENERATOR.normal(0, 1, (3, 2_000))
    for samples in ([A, B, A - B], [*wide]):
        assert mean_intervals(samples) == [bootstrap_interval(sample) for sample in samples]
    assert mean_intervals([]) == []


@pytest.mark.parametrize("queries", [43, 70_000])
def test_resamples_are_drawn_one_after_the_other(queries: int) -> None:
    values = np.random.default_rng(2).random(queries)
    drawn = np.random.default_rng(0).integers(0, queries, (200, queries))
    plain = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    assert bootstrap_interval(values, resamples=200) == pytest.approx(plain, abs=1e-7)
    bootstrap_interval(values, resamples=250)
    assert bootstrap_interval(values, resamples=200) == pytest.approx(plain, abs=1e-7)  # the first of 250


def test_bootstrap_means_agree_with_all_resamples_there_are() -> None:
    sample = np.array([0.0, 0.2, 0.5, 1.0, 0.7])
    means = np.array([sample[list(drawn)].mean() for drawn in product(range(5), repeat=5)])
    expected = np.quantile(means, [0.025, 0.975])
    assert bootstrap_interval(sample, "mean", 40_000) == pytest.approx(expected, abs=0.011)


@pytest.mark.parametrize("size", [1, 2, 3, 42, 43])
@pytest.mark.parametrize(("statistic", "quantile"), [("median", 0.5), ("p95", 0.95), ("p99", 0.99)])
def test_quantiles_bootstrapped_in_closed_form_agree_with_drawing(
    statistic: Statistic, quantile: float, size: int
) -> None:
    sample = A[:size]
    drawn = np.random.default_rng(2).integers(0, size, (40_000, size))
    expected = np.quantile(np.quantile(sample[drawn], quantile, axis=1), [0.025, 0.975])
    assert bootstrap_interval(sample, statistic, 40_000) == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize("statistic", ["mean", "median", "p95"])
def test_repeats_are_drawn_with_their_query_and_narrow_nothing(statistic: Statistic) -> None:
    repeated = np.repeat(A[:, None], 7, axis=1)
    once, often = bootstrap_interval(A, statistic), bootstrap_interval(repeated, statistic)
    assert often == pytest.approx(once, abs=0.012)
    flat = np.subtract(*bootstrap_interval(repeated.ravel(), statistic))  # as if they were other queries
    assert flat / np.subtract(*once) < 0.7
    noisy = A[:, None] + GENERATOR.normal(0, 0.05, (A.size, 4))
    drawn = np.random.default_rng(3).integers(0, A.size, (10_000, A.size))
    functions: dict[Statistic, Any] = {"mean": np.mean, "median": np.median, "p95": p95}
    expected = np.quantile([functions[statistic](noisy[places].ravel()) for places in drawn], [0.025, 0.975])
    assert bootstrap_interval(noisy, statistic) == pytest.approx(expected, abs=0.008)


def test_bootstrap_intervals_narrow_with_the_root_of_the_sample() -> None:
    values = GENERATOR.normal(0, 1, 400)
    widths = [np.subtract(*bootstrap_interval(np.tile(values, times))) for times in (1, 4)]
    assert widths[0] / widths[1] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(
    "random",
    [
        lambda size: bootstrap_interval(A[:size]),
        lambda size: bootstrap_interval(A[:size], "p95"),
        lambda size: permutation_test(A[:size], B[:size]),
    ],
)
def test_what_is_random_is_the_same_every_time(random: Callable[[int], Any]) -> None:
    first = random(43)
    random(42)  # what was drawn before is not at hand any more
    assert random(43) == first


def test_bootstrap_intervals_of_skewed_values_are_skewed_alike() -> None:
    one_in_ten = [0.0] * 9 + [1.0]  # the mean of a resample is a tenth of a binomial count
    low, high = scipy.stats.binom.interval(0.95, 10, 0.1)
    assert bootstrap_interval(one_in_ten) == pytest.approx((low / 10, high / 10), abs=1e-6)


@pytest.mark.parametrize("statistic", ["mean", "p95"])
def test_intervals_of_many_queries_are_those_of_all_resamples_at_once(statistic: Statistic) -> None:
    many = GENERATOR.random((900, 2))  # so many that the resamples are drawn in blocks, the last one shorter
    drawn = np.random.default_rng(0).integers(0, 900, (10_000, 900))
    functions: dict[Statistic, Any] = {"mean": np.mean, "p95": p95}
    of_resamples = np.array([functions[statistic](many[queries].ravel()) for queries in drawn])
    expected = np.quantile(of_resamples, [0.025, 0.975])
    assert bootstrap_interval(many, statistic) == pytest.approx(expected, rel=1e-6)


def test_random_signs_of_many_pairs_are_those_of_all_flips_at_once() -> None:
    a = GENERATOR.random(901)
    b = a + GENERATOR.normal(0.004, 0.1, 901)
    bits = np.random.default_rng(0).integers(0, 256, (10_000, 113), dtype=np.uint8)
    signs = 2.0 * np.unpackbits(bits, axis=1)[:, :901] - 1.0
    extreme = (np.abs(signs @ (a - b)) >= abs((a - b).sum()) - 1e-9).sum()
    assert 100 < extreme < 5000
    assert permutation_test(a, b) == (extreme + 1) / 10_001
    assert compare_all({"a": a, "b": b})["a", "b"].permutation == (extreme + 1) / 10_001


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


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.1])
def test_equivalence_is_two_one_sided_tests(margin: float) -> None:
    lower = scipy.stats.ttest_1samp(A - B, -margin, alternative="greater").pvalue
    upper = scipy.stats.ttest_1samp(A - B, margin, alternative="less").pvalue
    assert equivalence_test(A, B, margin) == pytest.approx(max(lower, upper))


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.06, 0.07, 0.1])
def test_equivalence_is_the_ninety_percent_interval_inside_the_margin(margin: float) -> None:
    interval = scipy.stats.ttest_rel(A, B).confidence_interval(0.9)
    is_inside = -margin < interval.low and interval.high < margin
    assert (equivalence_test(A, B, margin) < 0.05) == is_inside


def test_not_significant_is_not_equivalent() -> None:
    a, b = np.array([0.1, 0.9, 0.4, 0.6]), np.array([0.9, 0.1, 0.6, 0.4])
    assert paired_t_test(a, b) > 0.9
    assert equivalence_test(a, b, 0.01) > 0.4


def test_two_pairs_are_enough_for_a_test() -> None:
    a, b = [0.5, 0.7], [0.4, 0.5]
    assert 0 < equivalence_test(a, b, 5.0) < 0.05
    assert 0 < paired_t_test(a, b) < 1
    assert paired_t_test(a[:1], b[:1]) == equivalence_test(a[:1], b[:1], 5.0) == 1.0


def test_equivalence_at_its_limits() -> None:
    assert equivalence_test(A, A, 0.01) == 0.0
    assert equivalence_test([0.5, 0.6], [0.3, 0.4], 0.01) == 1.0
    assert equivalence_test([0.5], [0.5], 0.01) == 1.0
    assert equivalence_test([0.0, 0.0], [1.0, 1.0], 1.0) == 0.5  # at the margin itself
    with pytest.raises(ValueError, match="positive"):
        equivalence_test(A, B, 0.0)


@pytest.mark.parametrize("size", [2, 3, 5, 8, 12, 14])
def test_permutation_p_values_agree_with_scipys_exact_enumeration(size: int) -> None:
    test: Any = scipy.stats.permutation_test
    differences = (A[:size] - B[:size],)
    theirs = test(differences, np.mean, permutation_type="samples", n_resamples=np.inf)
    assert permutation_test(A[:size], B[:size]) == pytest.approx(theirs.pvalue)
    assert permutation_test([0.3], [0.1]) == 1.0  # both signs are as extreme


def test_random_permutations_agree_with_the_t_test_on_many_pairs() -> None:
    a = A + np.linspace(0, 0.06, A.size)  # a difference of middling significance
    assert permutation_test(a, B) == pytest.approx(paired_t_test(a, B), abs=0.02)
    assert permutation_test(A, A) == 1.0
    assert permutation_test(A + 1, B) == 1 / 10_001  # never zero: the observed one is among them


def test_the_effect_size_is_in_deviations_of_the_differences() -> None:
    def effect_size(a: Any, b: Any) -> float:
        return compare_all({"a": a, "b": b})["a", "b"].effect_size

    assert effect_size([1.0, 2.0, 6.0], [0.0, 0.0, 0.0]) == pytest.approx(3.0 / np.std([1, 2, 6], ddof=1))
    assert effect_size(A, A) == 0.0
    assert effect_size([1.0, 2.0], [0.0, 1.0]) == np.inf
    assert effect_size([1.0], [2.0]) == -np.inf


def test_bonferroni_multiplies_by_their_number() -> None:
    assert bonferroni({"a": 0.01, "b": 0.6}) == {"a": pytest.approx(2 * 0.01), "b": 1.0}


def test_samples_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        paired_t_test([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="one length"):
        paired_t_test([[1.0]], [[2.0]])


def test_holm_multiplies_the_smallest_by_their_number_and_never_decreases() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {
        "a": pytest.approx(3 * 0.01),
        "b": pytest.approx(2 * 0.03),  # 1 * 0.04 would be smaller than its predecessor
        "c": pytest.approx(2 * 0.03),
    }
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize("size", [2, 9, 43])
def test_all_pairs_at_once_are_the_tests_one_by_one(size: int) -> None:
    systems = {
        name: A[:size] + GENERATOR.normal(shift, 0.1, size)
        for name, shift in zip("abcd", (0, 0.01, 0.05, 0.2), strict=True)
    }
    systems["like a"] = systems["a"].copy()
    systems["all above a"] = systems["a"] + 0.25
    pairs = compare_all(systems)
    assert list(pairs) == list(combinations(systems, 2))
    for (label, other), pair in pairs.items():
        first, second = systems[label], systems[other]
        assert pair.difference == pytest.approx(first.mean() - second.mean())
        assert pair.t_test == pytest.approx(paired_t_test(first, second), abs=1e-12)
        assert pair.permutation == pytest.approx(permutation_test(first, second), abs=2e-4)
        assert (pair.wins, pair.losses) == ((first > second + TIE).sum(), (first < second - TIE).sum())
    assert pairs["a", "all above a"].effect_size == -np.inf
    for name in ("t_test", "permutation"):
        expected = holm({str(place): getattr(pair, name) for place, pair in enumerate(pairs.values())})
        assert [getattr(pair, f"{name}_holm") for pair in pairs.values()] == list(expected.values())
        for pair in pairs.values():
            assert getattr(pair, f"{name}_bonferroni") == min(1, len(pairs) * getattr(pair, name))


def test_no_p_value_of_drawn_permutations_is_zero() -> None:
    assert compare_all({"a": A + 1, "b": B})["a", "b"].permutation == 1 / 10_001
    assert compare_all({"a": A, "b": A})["a", "b"].permutation == 1.0


def test_all_pairs_agree_with_scipys_exact_enumeration() -> None:
    test: Any = scipy.stats.permutation_test
    theirs = test((A[:8] - B[:8],), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert compare_all({"a": A[:8], "b": B[:8]})["a", "b"].permutation == pytest.approx(theirs.pvalue)


def test_wins_ties_and_losses_are_counted_by_query_as_printed() -> None:
    pair = compare_all({"a": [0.5, 0.5, 0.30001, 0.1], "b": [0.4, 0.5, 0.3, 0.9]})["a", "b"]
    assert (pair.wins, pair.ties, pair.losses) == (1, 2, 1)


def test_pairs_of_nothing_are_none_and_unlike_queries_are_refused() -> None:
    assert compare_all({}) == compare_all({"a": A}) == {}
    with pytest.raises(ValueError, match="same queries"):
        compare_all({"a": A, "b": B[:3]})
    with pytest.raises(ValueError, match="same queries"):
        compare_all({"a": [], "b": []})
