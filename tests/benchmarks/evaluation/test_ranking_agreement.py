"""Agreement of rankings of three passages and more, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.evaluation.ranking_agreement import agreement, padded


def compared(first: list[int], second: list[int], k: int = 10) -> tuple[float, float, float]:
    agreed = agreement(padded([first], 20), padded([second], 20), k)
    return float(agreed.overlap[0]), float(agreed.rbo[0]), float(agreed.kendall[0])


def test_equal_rankings_agree_in_everything() -> None:
    for length in (2, 3, 10, 20):
        assert compared([*range(length)], [*range(length)]) == pytest.approx((1, 1, 1))


def test_reversed_rankings_are_opposite_and_share_their_passages() -> None:
    overlap, rbo, kendall = compared([0, 1, 2], [2, 1, 0])
    assert (overlap, kendall) == (1.0, -1.0)
    # shares of the first 1, 2, 3: 0, 1/2, 1; the last one is extrapolated
    assert rbo == pytest.approx(0.9**3 + (0.1 / 0.9) * (0.9**2 * 1 / 2 + 0.9**3))


def test_rankings_without_a_common_passage_agree_in_nothing() -> None:
    overlap, rbo, kendall = compared([0, 1], [2, 3])
    assert (overlap, rbo) == (0.0, 0.0)
    assert math.isnan(kendall)


def test_the_overlap_looks_at_the_first_k_and_kendall_at_shared_passages() -> None:
    assert compared([0, 1, 2, 3], [1, 0, 3, 2], k=1)[0] == 0.0
    assert compared([0, 1, 2, 3], [1, 0, 3, 2], k=3)[0] == pytest.approx(2 / 3)
    # shared are 0, 1 and 3: of their three pairs, (0, 1) is turned
    assert compared([0, 1, 2, 3], [1, 0, 5, 3])[2] == pytest.approx((2 - 1) / 3)


def test_queries_without_a_ranking_are_no_agreement_and_no_disagreement() -> None:
    agreed = agreement(padded([[], [0]], 20), padded([[], [0]], 20))
    assert np.isnan(agreed.rbo[0])
    assert agreed.rbo[1] == pytest.approx(1)


def test_kendall_is_scipy_s() -> None:
    from scipy.stats import kendalltau

    generator = np.random.default_rng(3)
    for _ in range(20):
        first, second = generator.permutation(12).tolist(), generator.permutation(12).tolist()
        places = [second.index(passage) for passage in first]
        assert compared(first, second)[2] == pytest.approx(kendalltau(range(12), places).statistic)


def test_agreement_is_that_of_its_definitions_for_rankings_of_unlike_length() -> None:
    generator = np.random.default_rng(5)
    for _ in range(30):
        first = generator.permutation(30)[: generator.integers(1, 21)].tolist()
        second = generator.permutation(30)[: generator.integers(1, 21)].tolist()
        length = min(len(first), len(second))
        shares = [len({*first[:d]} & {*second[:d]}) / d for d in range(1, length + 1)]
        rbo = shares[-1] * 0.9**length + 0.1 / 0.9 * sum(s * 0.9**d for d, s in enumerate(shares, 1))
        common = [passage for passage in first if passage in second]
        pairs = [(a, b) for place, a in enumerate(common) for b in common[place + 1 :]]
        signs = [1 if second.index(a) < second.index(b) else -1 for a, b in pairs]
        overlap, rbo_value, tau = compared(first, second)
        assert (overlap, rbo_value) == pytest.approx((shares[min(10, length) - 1], rbo))
        assert tau == pytest.approx(sum(signs) / len(signs)) if signs else math.isnan(tau)
