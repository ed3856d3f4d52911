"""Intervals and tests over per-query values; numpy and scipy do the arithmetic.

Which test for what follows Smucker, Allan and Carterette, "A comparison of statistical significance tests for
information retrieval evaluation" (CIKM 2007): paired t-test and randomisation test agree, rank tests do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

Statistic = Literal["mean", "median", "p95", "p99"]

_BLOCK = 4_000_000  # resampled values held at once: 32 MB

_REDUCE: dict[Statistic, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "mean": lambda samples: samples.mean(axis=1),
    "median": lambda samples: np.median(samples, axis=1),
    "p95": lambda samples: np.quantile(samples, 0.95, axis=1),
    "p99": lambda samples: np.quantile(samples, 0.99, axis=1),
}


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = "mean",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron and Tibshirani 1993, section 13.3) of a statistic of `values`.

    Deterministic for a seed. One value gives an interval of width zero; no value gives (nan, nan).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        return float("nan"), float("nan")
    reduce = _REDUCE[statistic]
    estimates = np.concatenate(
        [reduce(sample[positions]) for positions in _resampled_positions(sample.size, resamples, seed)]
    )
    return _percentile_interval(estimates, confidence)


def paired_t_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of the paired t-test; 1.0 where no pair differs, or with fewer than two pairs.

    Raises:
        ValueError: the samples differ in length.
    """
    differences = _paired_differences(a, b)
    if differences.size < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) == 0.0:
        return 0.0  # every pair differs by the same amount: the statistic is infinite
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0.0).pvalue)


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


def _paired_differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired samples need one length, got {first.shape} and {second.shape}")
    return first - second


def _resampled_positions(size: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Positions drawn with replacement, (block, size) at a time, so that memory stays bounded."""
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // size)
    for start in range(0, resamples, block):
        yield generator.integers(0, size, (min(block, resamples - start), size))


def _percentile_interval(estimates: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(estimates, [tail, 1.0 - tail])
    return float(low), float(high)
