"""Bootstrap resamples of queries, drawn once for all systems of a table, and statistics on them.

Everything random takes a seed and is the same every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BLOCK = 1_000_000  # resampled positions held at once: 8 MB
_CACHED = 65_536  # positions counted at once, so that the counts stay in the processor's cache


def resampled_means(samples: Sequence[Floats], resamples: int, seed: int) -> list[Floats]:
    """Draw bootstrap resamples of the queries, and return each sample's mean on each of them.

    All samples are means over the same resampled queries. A resample's mean is the sample's mean plus its
    deviations from it, weighted by how often each query is drawn.

    Args:
        samples: one array per system, (queries,) each.
        resamples: resamples to draw.
        seed: seed of the draws.

    Returns:
        one array per system, (resamples,) each.
    """
    means = [sample.mean() for sample in samples]
    weights = [(sample - mean).astype(np.float32) for sample, mean in zip(samples, means, strict=True)]
    sums = _weighted_sums(_drawn(samples[0].size, resamples, seed), weights)
    return [
        mean + drawn.astype(np.float64) / sample.size
        for mean, drawn, sample in zip(means, sums, samples, strict=True)
    ]


def resampled_quantiles(sample: Floats, quantile: float, resamples: int, seed: int) -> Floats:
    """Return a quantile of each bootstrap resample of a sample, (resamples,), without drawing the resamples.

    Quantiles are linearly interpolated, as numpy does. The k-th smallest of n draws with replacement is the
    value at position floor(n U), where U is the k-th smallest of n uniform numbers, which is Beta(k, n - k +
    1). The next one follows from the minimum of the n - k uniform numbers above it (David and Nagaraja, Order
    Statistics, 2003, sections 2.1 and 2.5).
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


_latest: dict[tuple[int, int], NDArray[np.uint8]] = {}
"""The latest draws, by size and seed: the systems of a table have the same queries."""


def _drawn(size: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    """Return how often each of `size` positions is drawn in each resample, (resamples, size).

    The latest draws are cached. Resamples are drawn one after the other, so that a request for few gets the
    first ones of many.
    """
    counts = _latest.get((size, seed))
    if counts is None or len(counts) < resamples:
        _latest.clear()  # before the next ones take their memory
        counts = _latest[size, seed] = _draw_counts(size, resamples, seed)
    return counts[:resamples]


def _draw_counts(size: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    """Draw resamples of `size` positions and count each position in each, (resamples, size).

    Eight bits are enough: that one of 256 positions is drawn 256 times has a probability below 1e-500.
    """
    counts = np.empty((resamples, size), dtype=np.uint8)
    generator = np.random.default_rng(seed)
    height = max(1, _CACHED // size)
    offsets = np.arange(height)[:, None] * size
    for start in range(0, resamples, height):
        drawn = generator.integers(0, size, (min(height, resamples - start), size))
        drawn += offsets[: len(drawn)]
        block_counts = np.bincount(drawn.ravel(), minlength=drawn.size)
        counts[start : start + height] = block_counts.reshape(drawn.shape)
    return counts


def forget_draws() -> None:
    """Free the cached draws; a later interval draws them again, with the same values."""
    _latest.clear()


def _weighted_sums(
    rows: NDArray[np.uint8], weights: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Return `rows @ weight` for each weight, (number of rows,) each.

    The product is taken block by block, because all rows in 32 bits would take too much memory, and for one
    weight at a time, because one product for all weights would round differently.
    """
    sums = [np.empty(len(rows), dtype=np.float32) for _ in weights]
    height = block_height(rows.shape[1])
    for start in range(0, len(rows), height):
        block = rows[start : start + height].astype(np.float32)
        for total, weight in zip(sums, weights, strict=True):
            total[start : start + height] = block @ weight
    return sums


def block_height(size: int) -> int:
    """Return how many rows of `size` numbers to hold in memory at once, a multiple of 64.

    OpenBLAS takes rows by eights, so that multiples of eight give the same sums as all rows at once.
    """
    return max(64, _BLOCK // size // 64 * 64)


def paired_quantiles(sample: Floats, quantile: float, resamples: int, seed: int) -> Floats:
    """Draw resamples of queries, each with all its repeats; return each one's quantile, (resamples,).

    Quantiles are interpolated as numpy does. Two samples with the same number of queries and the same seed
    get the same draws. The ordered values are counted as often as each is drawn, only in a window around the
    quantile that is eight standard deviations wide to either side.

    Args:
        sample: values, (queries, repeats).
        quantile: 0 to 1.
        resamples: resamples to draw.
        seed: seed of the draws.
    """
    queries, repeats = sample.shape
    values = sample.ravel()
    order = np.argsort(values, kind="stable")
    query, size = order // repeats, order.size
    counts = _drawn(queries, resamples, seed)
    below, share = divmod((size - 1) * quantile, 1.0)
    width = 2 + int(4 * repeats * np.sqrt(queries))
    first, last = max(0, int(below) - width), min(size, int(below) + width)
    weights = np.bincount(query[:first], minlength=queries).astype(np.float32)
    (before,) = _weighted_sums(counts, [weights])
    counted = counts[:, query[first:last]].cumsum(axis=1, dtype=np.float32)
    counted += before[:, None]
    low, high = (np.minimum(size - 1, first + (counted <= place).sum(axis=1)) for place in (below, below + 1))
    estimates: Floats = (1.0 - share) * values[order[low]] + share * values[order[high]]
    return estimates
