"""The start of the prompts whose keys and values are in the KV cache, and how the next batch uses it.

The instruction stands at the start of every prompt, and within one query the query follows. Their keys and
values depend on nothing that comes later, so a batch takes over those of the batch before.
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
    """The columns of the KV cache that are known.

    Invariant: columns `0..ids.shape[1] - 1` of the cache's first `len(ids)` rows hold the keys and values of
    `ids`, but for passages, whose embeddings are not compared and which therefore match nothing. Nothing is
    claimed (`ids` is empty) from the moment that a pass may write until it is over: a pass that fails leaves
    no wrong prefix behind.

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
        """Return the columns that all rows of a batch share and that are not in the cache, as one row.

        It pays to run them once before the batch: no columns where the batch has one row, or where some of
        its start is in the cache already.
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

        The caller runs the other columns, and says so with `hold`.

        Returns:
            how many columns are kept; never all of them, for the last one gives the first scores.
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
        """Claim the columns of a batch, whose pass is over."""
        self.ids = ids


def _shared_columns(cached: Ids, ids: Ids) -> int:
    """Return how many leading columns of `ids` are those of `cached`, one row or as many; never the last."""
    if not len(cached):
        return 0
    width = min(cached.shape[1], ids.shape[1] - 1)
    same = ((cached[:, :width] == ids[:, :width]) & (ids[:, :width] != PASSAGE)).all(axis=0)
    return int(width if same.all() else same.argmin())
