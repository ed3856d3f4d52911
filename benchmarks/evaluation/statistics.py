"""Intervals and tests over per-query values; numpy and scipy do the arithmetic.

Which test for what follows Smucker, Allan and Carterette, "A comparison of statistical significance tests for
information retrieval evaluation" (CIKM 2007): the paired t-test and the randomisation test agree, and rank
tests do not. That two systems are as good as each other is claimed by an equivalence test (TOST), never by
a difference that is merely not significant.

Everything random takes a seed and is the same every time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Statistic = Literal["mean", "median", "p95", "p99"]

_QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
_BLOCK = 1_000_000  # resampled positions held at once: 8 MB
_EXACT_PAIRS = 14  # up to here all 2^n sign flips are enumerated
SIGN_TOLERANCE = 1e-6  # of the sum of all differences: products with signs are sums in 32 bits


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = "mean",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron and Tibshirani 1993, section 13.3) of a statistic of `values`.

    One value gives an interval of width zero; no value gives (nan, nan).

    Args:
        values: one for each query, or (queries, repeats): queries are then drawn, each with all its repeats,
            because more repeats of the same queries tell no more about other queries.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        return float("nan"), float("nan")
    if statistic == "mean":
        sample = sample if sample.ndim == 1 else sample.mean(axis=1)
        estimates = _resampled_means(sample, resamples, seed)
    elif sample.ndim == 1 or sample.shape[1] == 1:
        estimates = _resampled_quantiles(sample.ravel(), _QUANTILES[statistic], resamples, seed)
    else:
        estimates = _paired_quantiles(sample, _QUANTILES[statistic], resamples, seed)
    # No statistic of a resample leaves the sample's range, but rounding to 32 bits may.
    return _percentile_interval(estimates.clip(sample.min(), sample.max()), confidence)


def bootstrap_ratio_interval(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Statistic = "median",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic(a) / statistic(b)`, such as a speed-up.

    Queries are drawn, and with each its value in both samples, so that what makes a query slow for both
    systems cancels.

    Args:
        a: one value for each query, or (queries, repeats); `b` likewise, of the same queries.

    Raises:
        ValueError: the samples differ in their queries, or are empty.
    """
    above, below = _by_query(a), _by_query(b)
    if len(above) != len(below) or not above.size or not below.size:
        raise ValueError(f"paired samples need the same queries, got {above.shape} and {below.shape}")
    if statistic == "mean":
        means = [_resampled_means(sample.mean(axis=1), resamples, seed) for sample in (above, below)]
        return _percentile_interval(means[0] / means[1], confidence)
    quantile = _QUANTILES[statistic]
    slow, fast = (_paired_quantiles(sample, quantile, resamples, seed) for sample in (above, below))
    return _percentile_interval(slow / fast, confidence)


def paired_t_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of the paired t-test; 1.0 where no pair differs, or with fewer than two pairs.

    Raises:
        ValueError: the samples differ in length, or are empty.
    """
    differences = np.subtract(*_paired(a, b))
    if differences.size < 2 or not differences.any():
        return 1.0
    return 2.0 * min(_t_tail(differences), _t_tail(-differences))


def equivalence_test(a: ArrayLike, b: ArrayLike, margin: float) -> float:
    """P-value of two one-sided paired t-tests (TOST; Schuirmann 1987).

    A small value says that the mean difference lies within `margin` of zero on either side. At level 0.05
    this is the same as the 90 % interval of the difference lying inside the margin.

    Raises:
        ValueError: the samples differ in length or are empty, or the margin is not positive.
    """
    if margin <= 0:
        raise ValueError(f"the margin must be positive, not {margin}")
    differences = np.subtract(*_paired(a, b))
    if differences.size < 2:
        return 1.0
    return max(_t_tail(differences + margin), _t_tail(margin - differences))


def permutation_test(a: ArrayLike, b: ArrayLike, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of the paired randomisation test on the mean difference.

    If the systems were the same, each difference could as well have the other sign. Up to 14 pairs all sign
    flips are enumerated; beyond, `resamples` are drawn and the observed one is counted among them.

    Raises:
        ValueError: the samples differ in length, or are empty.
    """
    differences = np.subtract(*_paired(a, b))
    weights = differences.astype(np.float32)
    least_extreme = abs(differences.sum()) - SIGN_TOLERANCE * np.abs(differences).sum()
    extreme = np.zeros(1, dtype=np.int64)
    for signs in sign_flips(differences.size, resamples, seed):
        extreme += (np.abs(signs @ weights) >= least_extreme).sum()
    return float(flip_p_values(extreme, differences.size, resamples)[0])


def sign_flips(size: int, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield sign flips of that many pairs in blocks, (flips, size).

    They are all combinations of up to 14 signs, and `resamples` random ones of more pairs.
    """
    if size <= _EXACT_PAIRS:
        combinations = np.arange(2**size)[:, None] >> np.arange(size) & 1
        yield (2 * combinations - 1).astype(np.float32)
        return
    drawn = np.random.default_rng(seed).integers(0, 256, (resamples, -(-size // 8)), dtype=np.uint8)
    height = _block_height(size)
    for start in range(0, resamples, height):
        bits = np.unpackbits(drawn[start : start + height], axis=1)[:, :size]
        yield np.where(bits, np.float32(1), np.float32(-1))


def flip_p_values(extreme: NDArray[np.int64], size: int, resamples: int) -> Floats:
    """Return p-values, given how many sign flips of `size` pairs were as extreme as what was observed."""
    return extreme / 2**size if size <= _EXACT_PAIRS else (extreme + 1) / (resamples + 1)


def effect_size(a: ArrayLike, b: ArrayLike) -> float:
    """Cohen's d for paired samples: the mean difference in standard deviations of the differences.

    0.0 where no pair differs; infinite where all pairs differ by the same amount.
    """
    differences = np.subtract(*_paired(a, b))
    if not differences.any():
        return 0.0
    if differences.size < 2 or is_constant(differences):
        return float(np.copysign(np.inf, differences[0]))
    return float(differences.mean() / differences.std(ddof=1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (1979): compare each adjusted p-value with the chosen level.

    The smallest of m p-values is multiplied by m, the next by m - 1, and so on; adjusted values never
    decrease along that order and never exceed 1.
    """
    adjusted: dict[str, float] = {}
    floor = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = floor
    return {name: adjusted[name] for name in p_values}


def bonferroni(p_values: Mapping[str, float]) -> dict[str, float]:
    """Each p-value times their number, at most 1."""
    return {name: min(1.0, len(p_values) * p_value) for name, p_value in p_values.items()}


def _paired(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(f"paired samples need one length, got {first.shape} and {second.shape}")
    return first, second


def is_constant(differences: Floats) -> bool:
    """Return whether all are alike but for rounding."""
    return bool(np.ptp(differences) <= 1e-12 * abs(differences.mean()))


def _t_tail(differences: Floats) -> float:
    """P-value of the one-sided t-test that the mean is above zero."""
    mean = differences.mean()
    if is_constant(differences):  # the statistic is infinite
        return 0.0 if mean > 0 else 1.0 if mean < 0 else 0.5
    from scipy.special import stdtr  # Student's t distribution; all of scipy.stats takes seconds to import

    error = differences.std(ddof=1) / np.sqrt(differences.size)
    return float(stdtr(differences.size - 1, -mean / error))


def _resampled_means(sample: Floats, resamples: int, seed: int) -> Floats:
    """Return the means of resamples: deviations weighted by how often each value is drawn, (resamples,)."""
    mean = sample.mean()
    drawn = _weighted_sums(_draw_counts(sample.size, resamples, seed), (sample - mean).astype(np.float32))
    means: Floats = mean + drawn.astype(np.float64) / sample.size
    return means


def _resampled_quantiles(sample: Floats, quantile: float, resamples: int, seed: int) -> Floats:
    """Quantiles of resamples, linearly interpolated as numpy does, without drawing the resamples.

    The k-th smallest of n draws with replacement is the value at position floor(n U), where U is the k-th
    smallest of n uniform numbers, which is Beta(k, n - k + 1); the next one follows from the minimum of the
    n - k uniform numbers above it (David and Nagaraja, Order Statistics, 2003, sections 2.1 and 2.5).
    """
    ordered = np.sort(sample)
    size = ordered.size
    below, share = divmod((size - 1) * quantile, 1.0)
    above = size - int(below) - 1  # draws larger than the lower neighbour of the quantile
    generator = np.random.default_rng(seed)
    low = generator.beta(int(below) + 1, above + 1, resamples)
    high = low + (1.0 - low) * (1.0 - generator.random(resamples) ** (1.0 / max(1, above)))
    places = np.minimum(size - 1, (size * np.stack([low, high])).astype(np.int64))
    estimates: Floats = (1.0 - share) * ordered[places[0]] + share * ordered[places[1]]
    return estimates


@lru_cache(maxsize=2)  # the systems of a table have the same queries; ratios draw fewer resamples
def _draw_counts(size: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    """Return the number of times that each position is drawn in each resample, (resamples, size).

    Eight bits are enough: that one of 256 positions is drawn 256 times has a probability below 1e-500.
    """
    counts = np.empty((resamples, size), dtype=np.uint8)
    generator = np.random.default_rng(seed)
    height = _block_height(size)
    for start in range(0, resamples, height):
        drawn = generator.integers(0, size, (min(height, resamples - start), size))
        drawn += np.arange(len(drawn))[:, None] * size
        found = np.bincount(drawn.ravel(), minlength=drawn.size)
        counts[start : start + height] = found.reshape(drawn.shape)
    return counts


def forget_draws() -> None:
    """Free what was drawn; the next interval draws it again, with the same values."""
    _draw_counts.cache_clear()


def _weighted_sums(rows: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `rows @ weights`, block by block, because the rows in 32 bits would take too much memory."""
    height = _block_height(rows.shape[1])
    blocks = [
        rows[start : start + height].astype(np.float32) @ weights for start in range(0, len(rows), height)
    ]
    sums: NDArray[np.float32] = np.concatenate(blocks)
    return sums


def _block_height(size: int) -> int:
    """Return the number of rows of that size that are in memory at once.

    OpenBLAS takes rows by eights, so that multiples of eight give the sums that all rows at once would.
    """
    return max(64, _BLOCK // size // 64 * 64)


def _by_query(values: ArrayLike) -> Floats:
    """Return the values as an array (queries, repeats)."""
    sample = np.asarray(values, dtype=np.float64)
    return sample[:, None] if sample.ndim == 1 else sample


def _paired_quantiles(sample: Floats, quantile: float, resamples: int, seed: int) -> Floats:
    """Quantiles of resamples, (resamples,), as numpy would interpolate them; queries come with all repeats.

    Two samples of the same size and seed are drawn alike. The ordered values are counted up as often as each
    is drawn, in a window around the quantile that is eight standard deviations wide to either side.
    """
    queries, repeats = sample.shape
    values = sample.ravel()
    order = np.argsort(values, kind="stable")
    query, size = order // repeats, order.size
    counts = _draw_counts(queries, resamples, seed)
    below, share = divmod((size - 1) * quantile, 1.0)
    width = 2 + int(4 * repeats * np.sqrt(queries))
    first, last = max(0, int(below) - width), min(size, int(below) + width)
    before = _weighted_sums(counts, np.bincount(query[:first], minlength=queries).astype(np.float32))
    counted = counts[:, query[first:last]].cumsum(axis=1, dtype=np.float32)
    counted += before[:, None]
    low, high = (np.minimum(size - 1, first + (counted <= place).sum(axis=1)) for place in (below, below + 1))
    estimates: Floats = (1.0 - share) * values[order[low]] + share * values[order[high]]
    return estimates


def _percentile_interval(estimates: Floats, confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(estimates, [tail, 1.0 - tail])
    return float(low), float(high)
