"""The part of the prompts whose keys and values are in the KV cache, and its reuse by the next batch.

The instruction stands at the start of every prompt, and within one query the query follows. Their keys and
values depend on no later token, so a batch takes over those of the batch before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rerankers.pe_rank.layout import PASSAGE

if TYPE_CHECKING:
    import numpy.typing as npt

    from rerankers.llm.static.buffers import KeyValueBuffers
    from rerankers.pe_rank.cache import WindowCache

    Ids = npt.NDArray[np.int64]

_NOTHING: Ids = np.empty((0, 0), dtype=np.int64)


class CachedPrefix:
    """A record of the token ids whose keys and values the KV cache holds.

    Invariant: columns `0..ids.shape[1] - 1` of the cache's first `len(ids)` rows hold the keys and values of
    `ids`, except passages, whose embeddings are not compared and which therefore match no column. `ids` is
    empty from the moment that a pass may write until it is over: a pass that fails leaves no wrong prefix
    behind.

    Args:
        cache: keys and values of one batch.
        is_reused: False lets no prompt begin with columns of the one before.

    Attributes:
        ids: token ids in the cache, (rows, columns); see `rerankers.pe_rank.layout`.
    """

    def __init__(self, cache: WindowCache | KeyValueBuffers, *, is_reused: bool) -> None:
        self.ids = _NOTHING
        self._cache, self._is_reused = cache, is_reused

    def unshared(self, ids: Ids) -> Ids:
        """Return the leading columns that all rows of a batch share, if none of them is cached, as one row.

        It pays to run them once before the batch. There are no columns if the batch has one row, or if some
        of its first columns are cached already.

        Args:
            ids: token ids of the batch, (rows, columns).
        """
        if not self._is_reused or len(ids) == 1 or _shared_columns(self.ids[:1], ids):
            return ids[:1, :0]
        return ids[:1, : _shared_columns(ids[:1], ids)]

    def clear(self) -> None:
        """Empty the cache, before a pass that begins at the first column."""
        self.ids = _NOTHING
        self._cache.set_length(0)

    def reuse(self, ids: Ids) -> int:
        """Set the cache back to the leading columns that are right for every row of a batch.

        The caller runs the other columns, and then calls `hold`.

        Args:
            ids: token ids of the batch, (rows, columns).

        Returns:
            the number of columns kept; never all of them, for the last one gives the first scores.
        """
        is_same_batch = len(self.ids) == len(ids)
        kept = 0
        if self._is_reused:
            kept = _shared_columns(self.ids if is_same_batch else self.ids[:1], ids)
        self._cache.set_length(kept)
        self.ids = _NOTHING
        if kept and not is_same_batch:
            self._cache.spread(len(ids))
        return kept

    def hold(self, ids: Ids) -> None:
        """Record the token ids of a batch, (rows, columns), whose pass is over, as those in the cache."""
        self.ids = ids


def _shared_columns(cached: Ids, ids: Ids) -> int:
    """Return the number of leading columns in which a batch equals the cached ids; never the last column.

    Args:
        cached: token ids in the cache, one row or as many as the batch.
        ids: token ids of the batch, (rows, columns).
    """
    if not len(cached):
        return 0
    width = min(cached.shape[1], ids.shape[1] - 1)
    same = ((cached[:, :width] == ids[:, :width]) & (ids[:, :width] != PASSAGE)).all(axis=0)
    return int(width if same.all() else same.argmin())
