"""Keys and values of a window's prompt in one buffer that lives as long as the reranker.

transformers' own dynamic cache copies all keys and values at every step and forgets them with the window.
Here a step writes behind what is there, going back is a change of one number, and what two prompts share at
their start (the instruction, and within one query the query) stays where it is.
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
    """One layer's buffers, (batch, heads, columns, head dimension), filled up to `length`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0
        self.rows, self.total = slice(None), 0  # the rows at work, and of how many; 0 for all there are

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append columns; give all keys and values up to them."""
        end = self.length + key_states.shape[2]
        self.keys = self._room(self.keys, key_states, end)
        self.values = self._room(self.values, value_states, end)
        self.is_initialized = True
        self.keys[self.rows, :, self.length : end] = key_states
        self.values[self.rows, :, self.length : end] = value_states
        self.length = end
        return self.keys[self.rows, :, :end], self.values[self.rows, :, :end]

    def get_seq_length(self) -> int:
        """Return the number of columns that are filled."""
        return self.length

    def spread(self, rows: int) -> None:
        """Give every one of `rows` rows what the first row holds."""
        for held in ("keys", "values"):
            buffer = getattr(self, held)
            room = buffer.new_empty(rows, *buffer.shape[1:])
            room[:, :, : self.length] = buffer[:1, :, : self.length]
            setattr(self, held, room)

    def _room(self, held: torch.Tensor | None, states: torch.Tensor, end: int) -> torch.Tensor:
        """Return the buffer, or a larger one with the same content; a change of the batch starts afresh."""
        batch, heads, _, dimension = states.shape
        batch = self.total or batch
        if held is not None and held.shape[0] == batch and held.shape[2] >= end:
            return held
        room = states.new_empty(batch, heads, -(-end // _ROUND) * _ROUND, dimension)
        if held is not None and held.shape[0] == batch:
            room[:, :, : self.length] = held[:, :, : self.length]
        return room


class WindowCache(Cache):
    """A cache whose length can be set back at no cost; new columns are written over the old ones."""

    def __init__(self, layers: int) -> None:
        self._buffers = [_Layer() for _ in range(layers)]
        super().__init__(layers=list(self._buffers))

    def nbytes(self) -> int:
        """Return bytes of all buffers."""
        held = [side for layer in self._buffers for side in (layer.keys, layer.values) if side is not None]
        return sum(side.nbytes for side in held)

    def spread(self, rows: int) -> None:
        """Make it a cache of `rows` rows, each with the first one's columns."""
        for layer in self._buffers:
            layer.spread(rows)

    @contextmanager
    def only(self, rows: slice, total: int) -> Iterator[None]:
        """Let a pass read and write some of `total` rows; the length is what the pass made it."""
        for layer in self._buffers:
            layer.rows, layer.total = rows, total
        try:
            yield
        finally:
            for layer in self._buffers:
                layer.rows, layer.total = slice(None), 0

    def set_length(self, length: int) -> None:
        """Keep the first `length` columns."""
        for layer in self._buffers:
            layer.length = length
