"""Resamples of queries for bootstrap intervals: drawn once for all systems of a table.

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
    """Return the means of resamples of each sample, (resamples,); a resample draws the same queries of all.

    They are deviations weighted by how often each value is drawn.
    """
    means = [sample.mean() for sample in samples]
    weights = [(sample - mean).astype(np.float32) for sample, mean in zip(samples, means, strict=True)]
    sums = _weighted_sums(_drawn(samples[0].size, resamples, seed), weights)
    return [
        mean + drawn.astype(np.float64) / sample.size
        for mean, drawn, sample in zip(means, sums, samples, strict=True)
    ]


def resampled_quantiles(sample: Floats, quantile: float, resamples: int, seed: int) -> Floats:
    """Return quantiles of resamples, linearly interpolated as numpy does, without drawing the resamples.

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


_latest: dict[tuple[int, int], NDArray[np.uint8]] = {}
"""The latest draws, by size and seed: the systems of a table have the same queries."""


def _drawn(size: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    """Return how often each position is drawn in each resample, (resamples, size).

    Resamples are drawn one after the other, so that the first ones of many are those of few.
    """
    counts = _latest.get((size, seed))
    if counts is None or len(counts) < resamples:
        _latest.clear()  # before the next ones take their memory
        counts = _latest[size, seed] = _draw_counts(size, resamples, seed)
    return counts[:resamples]


def _draw_counts(size: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    """Return the number of times that each position is drawn in each resample, (resamples, size).

    Eight bits are enough: that one of 256 positions is drawn 256 times has a probability below 1e-500.
    """
    counts = np.empty((resamples, size), dtype=np.uint8)
    generator = np.random.default_rng(seed)
    height = max(1, _CACHED // size)
    offsets = np.arange(height)[:, None] * size
    for start in range(0, resamples, height):
        drawn = generator.integers(0, size, (min(height, resamples - start), size))
        drawn += offsets[: len(drawn)]
        found = np.bincount(drawn.ravel(), minlength=drawn.size)
        counts[start : start + height] = found.reshape(drawn.shape)
    return counts


def forget_draws() -> None:
    """Free what was drawn; the next interval draws it again, with the same values."""
    _latest.clear()


def _weighted_sums(
    rows: NDArray[np.uint8], weights: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Return `rows @ weight` for each weight, block by block: all rows in 32 bits would take too much memory.

    One product for all weights would round otherwise than one for each.
    """
    sums = [np.empty(len(rows), dtype=np.float32) for _ in weights]
    height = block_height(rows.shape[1])
    for start in range(0, len(rows), height):
        block = rows[start : start + height].astype(np.float32)
        for found, weight in zip(sums, weights, strict=True):
            found[start : start + height] = block @ weight
    return sums


def block_height(size: int) -> int:
    """Return the number of rows of that size that are in memory at once.

    OpenBLAS takes rows by eights, so that multiples of eight give the sums that all rows at once would.
    """
    return max(64, _BLOCK // size // 64 * 64)


def paired_quantiles(sample: Floats, quantile: float, resamples: int, seed: int) -> Floats:
    """Return quantiles of resamples, (resamples,), as numpy interpolates them; queries come with all repeats.

    Two samples of the same size and seed are drawn alike. The ordered values are counted up as often as each
    is drawn, in a window around the quantile that is eight standard deviations wide to either side.
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
