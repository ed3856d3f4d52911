"""Measures of how far two rankings of the same passages agree, which need no judgements.

- Overlap@k: the share of passages that both have among their first k.
- RBO: rank-biased overlap, extrapolated (Webber, Moffat and Zobel, ACM TOIS 2010, equation 32), p = 0.9, so
  that the first ten ranks have 86 % of the weight.
- Kendall's tau over the passages that both rankings hold; undefined for fewer than two.

A ranking is a row of integers that stand for passages, best first, padded with -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ranks = NDArray[np.int32]

PERSISTENCE = 0.9
_BLOCK = 2048  # queries compared at once


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of two systems' rankings; each attribute holds one value per query, (queries,).

    Attributes:
        overlap: share of the first k passages that both rankings hold, 0 to 1; nan for an empty ranking.
        rbo: rank-biased overlap, 0 to 1; nan for an empty ranking.
        kendall: Kendall's tau, -1 to 1; nan where the two share fewer than two passages.
    """

    overlap: Floats
    rbo: Floats
    kendall: Floats


def padded(rankings: Sequence[Sequence[int]], depth: int) -> Ranks:
    """Cut or pad (with -1) each ranking to `depth` integers, (queries, depth)."""
    rows = np.full((len(rankings), depth), -1, dtype=np.int32)
    for row, ranking in zip(rows, rankings, strict=True):
        head = ranking[:depth]
        row[: len(head)] = head
    return rows


def agreement(first: Ranks, second: Ranks, k: int = 10) -> Agreement:
    """Compute the agreement of two systems' rankings, query by query.

    Args:
        first: rankings as `padded` makes them, (queries, depth).
        second: likewise, of the same queries.
        k: number of first ranks that the overlap looks at.

    Raises:
        ValueError: the two differ in shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"rankings of the same queries are compared, not {first.shape} and {second.shape}")
    blocks = [
        _block(first[start : start + _BLOCK], second[start : start + _BLOCK], k)
        for start in range(0, len(first), _BLOCK)
    ]
    if not blocks:
        return Agreement(np.empty(0), np.empty(0), np.empty(0))
    overlap, rbo, kendall = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Agreement(overlap, rbo, kendall)


def _block(first: Ranks, second: Ranks, k: int) -> tuple[Floats, Floats, Floats]:
    """Return overlap, RBO and Kendall's tau, (queries,) each, from rows as `padded` makes them."""
    count, depth = first.shape
    same = first[:, :, None] == second[:, None, :]
    same &= (first >= 0)[:, :, None]  # (queries, depth, depth)
    places = same.argmax(axis=2)  # in the second ranking, (queries, depth) in the first one's order
    is_shared = np.take_along_axis(same, places[:, :, None], axis=2)[:, :, 0]
    # A passage at ranks i and j is shared by all heads of max(i, j) ranks and more.
    from_rank = np.maximum(places, np.arange(depth)) + depth * np.arange(count)[:, None]
    shared = np.bincount(from_rank[is_shared], minlength=count * depth).reshape(count, depth).cumsum(axis=1)
    lengths = np.minimum((first >= 0).sum(axis=1), (second >= 0).sum(axis=1))  # (queries,)
    depths = np.arange(1, depth + 1)
    weights = PERSISTENCE**depths
    counted = depths <= lengths[:, None]
    series = (np.where(counted, shared / depths, 0.0) * weights).sum(axis=1)
    last = np.maximum(lengths, 1)
    at_last = shared[np.arange(count), last - 1] / last
    rbo = at_last * PERSISTENCE**last + (1 - PERSISTENCE) / PERSISTENCE * series
    compared = np.clip(lengths, 1, min(k, depth))
    overlap = shared[np.arange(count), compared - 1] / compared
    empty = lengths == 0
    overlap[empty], rbo[empty] = np.nan, np.nan
    return overlap, rbo, _kendall(places, is_shared)


def _kendall(places: NDArray[np.intp], is_shared: NDArray[np.bool_]) -> Floats:
    """Return Kendall's tau over the passages that two rankings share, (queries,); nan for fewer than two.

    Args:
        places: position in the second ranking of each passage of the first, (queries, depth).
        is_shared: whether the second ranking holds that passage at all, (queries, depth).
    """
    depth = places.shape[1]
    ahead, behind = np.triu_indices(depth, 1)
    # A passage that is not shared is never behind another one, and no other one is behind it.
    earlier = np.where(is_shared, places, depth).astype(np.int16)
    later = np.where(is_shared, places, -1).astype(np.int16)
    in_order = np.count_nonzero(later[:, behind] > earlier[:, ahead], axis=1)
    shared = is_shared.sum(axis=1)
    pairs = shared * (shared - 1) // 2
    with np.errstate(invalid="ignore", divide="ignore"):
        tau: Floats = np.where(pairs > 0, (2 * in_order - pairs) / pairs, np.nan)
    return tau
