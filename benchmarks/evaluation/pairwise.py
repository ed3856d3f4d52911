"""Significance tests of every pair of systems over the same queries.

Gives the values of `benchmarks.evaluation.statistics`' tests, one matrix product for all pairs instead of one
for each: a sum of differences under random signs is the difference of the systems' sums under these signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.statistics import (
    SIGN_TOLERANCE,
    bonferroni,
    flip_p_values,
    holm,
    is_constant,
    sign_flips,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

TIE = 5e-5  # values that differ by less are printed alike by evaluation tools


@dataclass(frozen=True, slots=True)
class Pair:
    """The comparison of a first system with a second one, over the same queries.

    Attributes:
        difference: mean over queries of the first system's value less the second's.
        t_test: p-value of the two-sided paired t-test; `t_test_holm` and `t_test_bonferroni` are corrected
            over all pairs.
        permutation: p-value of the paired randomisation test on the mean; `permutation_holm` and
            `permutation_bonferroni` are corrected likewise.
        effect_size: Cohen's d of the per-query differences.
        wins: number of queries where the first system is better; `ties` and `losses` likewise.
    """

    difference: float
    t_test: float
    t_test_holm: float
    t_test_bonferroni: float
    permutation: float
    permutation_holm: float
    permutation_bonferroni: float
    effect_size: float
    wins: int
    ties: int
    losses: int


def compare_all(values: Mapping[str, ArrayLike]) -> dict[tuple[str, str], Pair]:
    """Compare each system with every later one; all pairs are tested under the same sign flips.

    Args:
        values: by system, one value for each query; all systems have the queries in the same order.

    Returns:
        the comparison by (first system, second system); empty for fewer than two systems.

    Raises:
        ValueError: the systems differ in their number of queries, or there are none.
    """
    names = list(combinations(values, 2))
    if not names:
        return {}
    samples = [np.asarray(sample, dtype=np.float64) for sample in values.values()]
    if len({sample.shape for sample in samples}) > 1 or samples[0].ndim != 1 or not samples[0].size:
        raise ValueError("the systems need values for the same queries, one each")
    first, second = np.triu_indices(len(samples), 1)
    matrix = np.stack(samples)
    t_tests, effects, counts, least_extreme = _one_by_one(matrix, first, second)
    permutations = _permutations(matrix, first, second, least_extreme)
    t_holm, t_bonferroni, permutation_holm, permutation_bonferroni = (
        list(correct({str(place): p for place, p in enumerate(p_values.tolist())}).values())
        for p_values in (t_tests, permutations)
        for correct in (holm, bonferroni)
    )
    means = matrix.mean(axis=1)
    return {
        name: Pair(
            difference=float(means[first[place]] - means[second[place]]),
            t_test=float(t_tests[place]),
            t_test_holm=t_holm[place],
            t_test_bonferroni=t_bonferroni[place],
            permutation=float(permutations[place]),
            permutation_holm=permutation_holm[place],
            permutation_bonferroni=permutation_bonferroni[place],
            effect_size=float(effects[place]),
            wins=int(counts[place, 0]),
            ties=int(counts[place, 1]),
            losses=int(counts[place, 2]),
        )
        for place, name in enumerate(names)
    }


def _one_by_one(
    matrix: Floats, first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[Floats, Floats, NDArray[np.int64], Floats]:
    """Compute t-test, effect size, wins and the observed sum of differences of all pairs, one pair at a time.

    Args:
        matrix: values, (systems, queries).
        first: row of each pair's first system, (pairs,).
        second: row of each pair's second system, (pairs,).

    Returns:
        the paired t-test's p-value, (pairs,); Cohen's d, (pairs,); wins, ties and losses, (pairs, 3); and the
        least absolute sum of differences that counts as extreme as the observed one, which is a rounding
        error below it, (pairs,).
    """
    from scipy.special import stdtr

    size = matrix.shape[1]
    means, deviations, sums = np.empty(len(first)), np.zeros(len(first)), np.empty(len(first))
    differs, counts = np.empty(len(first), dtype=bool), np.empty((len(first), 3), dtype=np.int64)
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        differences = matrix[a] - matrix[b]
        means[place], differs[place] = differences.mean(), differences.any()
        deviations[place] = 0.0 if size < 2 or is_constant(differences) else differences.std(ddof=1)
        wins, losses = int((differences > TIE).sum()), int((differences < -TIE).sum())
        counts[place] = wins, size - wins - losses, losses
        sums[place] = abs(differences.sum()) - SIGN_TOLERANCE * np.abs(differences).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        effects = np.where(differs, means / deviations, 0.0)  # infinite where all differ alike
        p_values = 2.0 * stdtr(size - 1, -np.abs(effects) * np.sqrt(size))
    return np.where(differs & (size > 1), p_values, 1.0), effects, counts, sums


def _permutations(
    matrix: Floats, first: NDArray[np.int64], second: NDArray[np.int64], least_extreme: Floats
) -> Floats:
    """Return the randomisation test's p-value of each pair, (pairs,).

    Args:
        matrix: values, (systems, queries).
        first: row of each pair's first system, (pairs,).
        second: row of each pair's second system, (pairs,).
        least_extreme: least absolute sum of differences that counts as extreme, (pairs,).
    """
    centred = matrix - matrix.mean(axis=0)  # which changes no difference, and keeps the sums small
    extreme = np.zeros(len(first), dtype=np.int64)
    for signs in sign_flips(matrix.shape[1]):
        sums = signs @ centred.T  # (flips, systems)
        extreme += (np.abs(sums[:, first] - sums[:, second]) >= least_extreme).sum(axis=0)
    return flip_p_values(extreme, matrix.shape[1])
