"""Buffers for keys and values of all layers, whose addresses stay the same as long as the shape does."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUND = 256  # columns by which the buffers grow


class KeyValueBuffers:
    """The keys and values of a batch, filled up to `length` columns; later columns hold no meaning.

    Args:
        layers: number of layers of the decoder.
        heads: number of heads of keys and values.
        dimension: of a head.
        dtype: of keys and values.
        device: the device that holds them.

    Attributes:
        length: columns that are filled; a pass writes behind them.
    """

    def __init__(
        self, layers: int, heads: int, dimension: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.length = 0
        self._states = torch.empty(2 * layers, 0, 0, heads, dimension, dtype=dtype, device=device)
        self._rows, self._total = slice(None), 0  # the rows at work, and of how many; 0 for all there are

    def nbytes(self) -> int:
        """Return the size of keys and values in bytes."""
        return self._states.nbytes

    def set_length(self, length: int) -> None:
        """Set the number of filled columns; later ones are overwritten by the next pass."""
        self.length = length

    def keep(self, columns: torch.Tensor) -> None:
        """Move some filled columns to the front, in this order, and drop the others.

        Args:
            columns: their numbers, (columns,).
        """
        self._states[:, :, : len(columns)] = self._states[:, :, columns]
        self.length = len(columns)

    def append(self, rows: int, columns: int) -> torch.Tensor:
        """Make room for more columns of `rows` rows, count them as filled, and return all columns up to them.

        A batch of another size starts with empty buffers.

        Returns:
            keys of the first layer, its values, keys of the second, and so on, the new columns unwritten:
            (2 * layers, rows, columns, heads, head dimension).
        """
        total, end = self._total or rows, self.length + columns
        if self._states.shape[1] != total:
            self._states = self._room(total, end)
        elif self._states.shape[2] < end:
            room = self._room(total, end)
            room[:, :, : self.length] = self._states[:, :, : self.length]
            self._states = room
        self.length = end
        return self._states[:, self._rows, :end]

    def spread(self, rows: int) -> None:
        """Change the buffers to those of `rows` rows, each with a copy of the first row's columns."""
        room = self._room(rows, self._states.shape[2])
        room[:, :, : self.length] = self._states[:, :1, : self.length]
        self._states = room

    @contextmanager
    def only(self, rows: slice, total: int) -> Iterator[None]:
        """Let passes read and write only some of `total` rows inside the `with` block."""
        self._rows, self._total = rows, total
        try:
            yield
        finally:
            self._rows, self._total = slice(None), 0

    def _room(self, rows: int, columns: int) -> torch.Tensor:
        """Return empty buffers for `rows` rows and at least `columns` columns."""
        sides, _, _, heads, dimension = self._states.shape
        return self._states.new_empty(sides, rows, -(-columns // _ROUND) * _ROUND, heads, dimension)
