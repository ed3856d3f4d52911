"""Confidence intervals and significance tests over per-query values, computed with numpy and scipy.

Which test for what follows Smucker, Allan and Carterette, "A comparison of statistical significance tests for
information retrieval evaluation" (CIKM 2007): the paired t-test and the randomisation test agree, and rank
tests do not. That two systems are as good as each other is claimed by an equivalence test (TOST), never by
a difference that is merely not significant.

Everything random has one seed and is the same every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.evaluation.resampling import (
    block_height,
    paired_quantiles,
    resampled_means,
    resampled_quantiles,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Statistic = Literal["mean", "median", "p95", "p99"]

RESAMPLES, SEED = 10_000, 0
"""Resamples of a bootstrap and sign flips of a randomisation test, and the seed of their draws."""

_QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
_EXACT_PAIRS = 14  # up to here all 2^n sign flips are enumerated
SIGN_TOLERANCE = 1e-6  # of the sum of all differences: what rounding may take from equal sums
_SIGNS = np.where(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), 1.0, -1.0)  # by byte


def bootstrap_interval(
    values: ArrayLike, statistic: Statistic = "mean", resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval (low, high) of a statistic of `values`.

    The method is Efron and Tibshirani's (1993, section 13.3). One value gives an interval of width zero; no
    value gives (nan, nan).

    Args:
        values: one for each query, or (queries, repeats): queries are then drawn, each with all its repeats,
            because more repeats of the same queries tell no more about other queries.
        statistic: the statistic to estimate.
        resamples: resamples to draw.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        return float("nan"), float("nan")
    if statistic == "mean":
        means = sample if sample.ndim == 1 else sample.mean(axis=1)
        (estimates,) = resampled_means([means], resamples, SEED)
    elif sample.ndim == 1 or sample.shape[1] == 1:
        estimates = resampled_quantiles(sample.ravel(), _QUANTILES[statistic], resamples, SEED)
    else:
        estimates = paired_quantiles(sample, _QUANTILES[statistic], resamples, SEED)
    return percentile_interval(_inside(estimates, sample))


def mean_intervals(samples: Sequence[ArrayLike]) -> list[tuple[float, float]]:
    """Return the 95 % percentile bootstrap interval (low, high) of each sample's mean.

    The values are those of `bootstrap_interval`, faster than one call for each.

    Args:
        samples: values of the same queries, (queries,) each.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if not arrays or not arrays[0].size:
        return [(float("nan"), float("nan"))] * len(arrays)
    estimates = zip(resampled_means(arrays, RESAMPLES, SEED), arrays, strict=True)
    return [percentile_interval(_inside(means, sample)) for means, sample in estimates]


def paired_t_test(a: ArrayLike, b: ArrayLike) -> float:
    """Return the two-sided p-value of the paired t-test of `a` against `b`, one value per query each.

    Return 1.0 where no pair differs, and for fewer than two pairs.

    Raises:
        ValueError: the samples differ in length, or are empty.
    """
    differences = np.subtract(*_paired(a, b))
    if differences.size < 2 or not differences.any():
        return 1.0
    return 2.0 * min(_t_tail(differences), _t_tail(-differences))


def equivalence_test(a: ArrayLike, b: ArrayLike, margin: float) -> float:
    """Return the p-value of two one-sided paired t-tests (TOST; Schuirmann 1987) of equivalence.

    A small value says that the mean difference lies within `margin` of zero on either side. At level 0.05
    this is the same as the 90 % interval of the difference lying inside the margin. Return 1.0 for fewer than
    two pairs.

    Raises:
        ValueError: the samples differ in length or are empty, or the margin is not positive.
    """
    if margin <= 0:
        raise ValueError(f"the margin must be positive, not {margin}")
    differences = np.subtract(*_paired(a, b))
    if differences.size < 2:
        return 1.0
    return max(_t_tail(differences + margin), _t_tail(margin - differences))


def permutation_test(a: ArrayLike, b: ArrayLike) -> float:
    """Return the two-sided p-value of the paired randomisation test on the mean difference of `a` and `b`.

    If the systems were the same, each difference could as well have the other sign. Up to 14 pairs, all sign
    flips are enumerated; beyond, 10,000 are drawn and the observed one is counted among them.

    Raises:
        ValueError: the samples differ in length, or are empty.
    """
    differences = np.subtract(*_paired(a, b))
    least_extreme = abs(differences.sum()) - SIGN_TOLERANCE * np.abs(differences).sum()
    extreme = np.zeros(1, dtype=np.int64)
    for signs in sign_flips(differences.size):
        extreme += (np.abs(signs @ differences) >= least_extreme).sum()
    return float(flip_p_values(extreme, differences.size)[0])


def sign_flips(size: int) -> Iterator[Floats]:
    """Yield sign flips of `size` pairs, each sign -1.0 or 1.0, in blocks of (flips, size).

    Up to 14 pairs these are all combinations of signs; beyond, 10,000 random ones.
    """
    if size <= _EXACT_PAIRS:
        combinations = np.arange(2**size)[:, None] >> np.arange(size) & 1
        yield (2 * combinations - 1).astype(np.float64)
        return
    drawn = np.random.default_rng(SEED).integers(0, 256, (RESAMPLES, -(-size // 8)), dtype=np.uint8)
    height = block_height(size)
    for start in range(0, RESAMPLES, height):
        signs = _SIGNS[drawn[start : start + height]]
        yield signs.reshape(len(signs), -1)[:, :size]


def flip_p_values(extreme: NDArray[np.int64], size: int) -> Floats:
    """Turn counts of sign flips into p-values of the randomisation test, one for each count.

    Args:
        extreme: number of sign flips that were at least as extreme as the observed differences.
        size: number of pairs.
    """
    return extreme / 2**size if size <= _EXACT_PAIRS else (extreme + 1) / (RESAMPLES + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for multiple testing by Holm's step-down method (1979); return them by the same names.

    The smallest of m p-values is multiplied by m, the next by m - 1, and so on; adjusted values never
    decrease along that order and never exceed 1. Compare each with the chosen level.
    """
    adjusted: dict[str, float] = {}
    floor = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = floor
    return {name: adjusted[name] for name in p_values}


def bonferroni(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for multiple testing: return each times their number, at most 1, by the same names."""
    return {name: min(1.0, len(p_values) * p_value) for name, p_value in p_values.items()}


def _paired(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    """Return two samples as arrays of one length, (queries,) each.

    Raises:
        ValueError: they differ in length, are not one-dimensional, or are empty.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(f"paired samples need one length, got {first.shape} and {second.shape}")
    return first, second


def is_constant(differences: Floats) -> bool:
    """Return whether all differences are equal, up to rounding."""
    return bool(np.ptp(differences) <= 1e-12 * abs(differences.mean()))


def _t_tail(differences: Floats) -> float:
    """Return the p-value of the one-sided t-test that the mean of the differences is above zero."""
    mean = differences.mean()
    if is_constant(differences):  # the statistic is infinite
        return 0.0 if mean > 0 else 1.0 if mean < 0 else 0.5
    from scipy.special import stdtr  # Student's t distribution; all of scipy.stats takes seconds to import

    error = differences.std(ddof=1) / np.sqrt(differences.size)
    return float(stdtr(differences.size - 1, -mean / error))


def _inside(estimates: Floats, sample: Floats) -> Floats:
    """Clip the estimates to the range of the sample, which they leave only by rounding to 32 bits."""
    clipped: Floats = estimates.clip(sample.min(), sample.max())
    return clipped


def percentile_interval(estimates: Floats) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval (low, high), given the statistic of each resample."""
    low, high = np.quantile(estimates, [0.025, 0.975])
    return float(low), float(high)
