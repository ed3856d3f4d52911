"""A cache of a window's keys and values, in buffers that live as long as the reranker.

transformers' own dynamic cache copies all keys and values at every step and drops them with the window.
Here a step writes behind the filled columns, going back changes one number, and the prefix that two prompts
share (the instruction, and within one query the query) stays in place.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transformers.cache_utils import Cache, DynamicLayer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_ROUND = 256  # columns by which the buffer grows


class _Layer(DynamicLayer):
    """The buffers of one layer, (batch, heads, columns, head dimension), filled up to `length` columns."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0
        self.rows, self.total = slice(None), 0  # the rows at work, and of how many; 0 for all there are

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append columns of keys and values, and return all filled columns of both.

        Args:
            key_states, value_states: (rows, heads, new columns, head dimension).
        """
        end = self.length + key_states.shape[2]
        self.keys = self._room(self.keys, key_states, end)
        self.values = self._room(self.values, value_states, end)
        self.is_initialized = True
        self.keys[self.rows, :, self.length : end] = key_states
        self.values[self.rows, :, self.length : end] = value_states
        self.length = end
        return self.keys[self.rows, :, :end], self.values[self.rows, :, :end]

    def get_seq_length(self) -> int:
        """Return the number of filled columns."""
        return self.length

    def spread(self, rows: int) -> None:
        """Change the buffers to those of `rows` rows, each with a copy of the first row's columns."""
        for held in ("keys", "values"):
            buffer = getattr(self, held)
            room = buffer.new_empty(rows, *buffer.shape[1:])
            room[:, :, : self.length] = buffer[:1, :, : self.length]
            setattr(self, held, room)

    def _room(self, held: torch.Tensor | None, states: torch.Tensor, end: int) -> torch.Tensor:
        """Return a buffer with at least `end` columns: the held one, or a larger one with its filled columns.

        A batch of another size gets an empty one.

        Args:
            held: the buffer so far; None for none.
            states: new columns, whose shape, dtype and device are taken.
            end: columns that are needed.
        """
        batch, heads, _, dimension = states.shape
        batch = self.total or batch
        if held is not None and held.shape[0] == batch and held.shape[2] >= end:
            return held
        room = states.new_empty(batch, heads, -(-end // _ROUND) * _ROUND, dimension)
        if held is not None and held.shape[0] == batch:
            room[:, :, : self.length] = held[:, :, : self.length]
        return room


class WindowCache(Cache):
    """A cache for transformers whose length can be set back at no cost; later columns are then overwritten.

    Args:
        layers: number of layers of the model.
    """

    def __init__(self, layers: int) -> None:
        self._buffers = [_Layer() for _ in range(layers)]
        super().__init__(layers=list(self._buffers))

    def nbytes(self) -> int:
        """Return the size of all buffers in bytes."""
        held = [side for layer in self._buffers for side in (layer.keys, layer.values) if side is not None]
        return sum(side.nbytes for side in held)

    def spread(self, rows: int) -> None:
        """Change the cache to one of `rows` rows, each with a copy of the first row's columns."""
        for layer in self._buffers:
            layer.spread(rows)

    def keep(self, columns: torch.Tensor) -> None:
        """Move some filled columns to the front, in this order, and drop the others.

        Args:
            columns: their numbers, (columns,).
        """
        for layer in self._buffers:
            for buffer in (layer.keys, layer.values):
                if buffer is not None:
                    buffer[:, :, : len(columns)] = buffer[:, :, columns]
            layer.length = len(columns)

    @contextmanager
    def only(self, rows: slice, total: int) -> Iterator[None]:
        """Let passes read and write only some of `total` rows inside the `with` block.

        The length afterwards is that of the last pass.
        """
        for layer in self._buffers:
            layer.rows, layer.total = rows, total
        try:
            yield
        finally:
            for layer in self._buffers:
                layer.rows, layer.total = slice(None), 0

    def set_length(self, length: int) -> None:
        """Set the number of filled columns; later ones are overwritten by the next pass."""
        for layer in self._buffers:
            layer.length = length
