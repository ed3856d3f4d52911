"""Passes of a few shapes: rows, new tokens and columns are rounded up, and everything else is data.

A pass of one shape on memory that stays where it is can be captured and replayed
(`rerankers.llm.static.capture`). Prefill and drafts are the same function. What differs between two passes of
a bucket are embeddings, positions, the columns where new keys and values are written, and the mask; the last
hides padding and columns that are not filled yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from rerankers.llm.static.buffers import KeyValueBuffers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.llm.static.decoder import StaticDecoder

_DRAFTS = (1, 2, 4, 8, 16, 32)
_COLUMNS = 512  # of which the columns are a multiple


class Bucket(NamedTuple):
    """The shape of a pass: rows, new tokens a row, and columns of keys and values."""

    rows: int
    tokens: int
    columns: int

    @classmethod
    def of(cls, rows: int, tokens: int, filled: int) -> Bucket:
        """Return the smallest bucket for so many rows and new tokens behind `filled` columns.

        New tokens are 1, 2, 4, 8, 16, 32, then multiples of 64, and from 512 on of 256.
        """
        room = next((size for size in _DRAFTS if size >= tokens), 0)
        room = room or _round_up(tokens, 64 if tokens <= 512 else 256)
        return cls(1 << (rows - 1).bit_length(), room, _round_up(filled + room, _COLUMNS))

    def narrower(self) -> list[int]:
        """Return the new tokens of all buckets that have no more than this one has columns."""
        sizes, tokens = [], 1
        while (size := Bucket.of(1, tokens, 0).tokens) <= self.columns:
            sizes.append(size)
            tokens = size + 1
        return sizes


class BucketBuffers(KeyValueBuffers):
    """Keys and values that stay where they are: the memory only ever grows, and passes see a corner of it.

    Columns that are not filled are read and masked, so they are numbers from the beginning: zeros. Each
    layer's keys and values are tensors of their own, which a compiler sees to be apart.

    Args:
        decoder: the decoder whose keys and values they hold.

    Attributes:
        captured, uncaptured: passes that were run so far, either way.
    """

    def __init__(self, decoder: StaticDecoder) -> None:
        super().__init__(*decoder.buffer_shape)
        sides, _, _, heads, dimension = self._states.shape
        self._decoder = decoder
        self._sides = [self._states.new_zeros(0, 0, heads, dimension) for _ in range(sides)]
        self._passes: dict[tuple[Bucket, int], BucketPass] = {}  # by bucket and first row
        self.captured = self.uncaptured = 0

    def nbytes(self) -> int:
        """Return the size of keys and values in bytes."""
        return sum(side.nbytes for side in self._sides)

    def append_pass(self, rows: int, tokens: int) -> BucketPass:
        """Return the memory of a pass behind the filled columns, and count its columns as filled.

        Args:
            rows: rows of the pass.
            tokens: new tokens of each.
        """
        first = self._rows.start or 0
        bucket = Bucket.of(rows, tokens, self.length)
        self._reserve(first + bucket.rows, bucket.columns)
        bucket = bucket._replace(columns=self._sides[0].shape[1])  # one size for all
        key = bucket, first
        if key not in self._passes:
            corner = slice(first, first + bucket.rows), slice(bucket.columns)
            self._passes[key] = BucketPass(self._decoder, bucket, [side[corner] for side in self._sides])
        self.length += tokens
        return self._passes[key]

    def spread(self, rows: int) -> None:
        """Copy the first row's columns into the other ones of `rows` rows."""
        self._reserve(rows, self.length)
        for side in self._sides:
            side[1:rows, : self.length] = side[:1, : self.length]

    def keep(self, columns: torch.Tensor) -> None:
        """Move some filled columns to the front, in this order, and drop the others.

        Args:
            columns: their numbers, (columns,).
        """
        for side in self._sides:
            side[:, : len(columns)] = side[:, columns]
        self.length = len(columns)

    def _reserve(self, rows: int, columns: int) -> None:
        """Make room for so many rows and columns; what is filled moves to new memory, and passes end."""
        held_rows, held_columns, heads, dimension = self._sides[0].shape
        if rows <= held_rows and columns <= held_columns:
            return
        shape = max(rows, held_rows), max(columns, held_columns), heads, dimension
        for number, side in enumerate(self._sides):
            self._sides[number] = room = side.new_zeros(shape)
            room[:held_rows, : self.length] = side[:, : self.length]
        self._passes = {}


class BucketPass:
    """One bucket's forward pass on memory of its own.

    Args:
        decoder: the decoder.
        bucket: the shape.
        states: keys of the first layer, its values, keys of the second, and so on, each
            (rows, columns, heads, head dimension).

    Attributes:
        decoder: the decoder.
        bucket: the shape.
        replay: what was captured of `run`, which does the same; None if nothing was.
    """

    def __init__(self, decoder: StaticDecoder, bucket: Bucket, states: Sequence[torch.Tensor]) -> None:
        rows, tokens, columns = self.bucket = bucket
        self.replay: Callable[[], torch.Tensor] | None = None
        self.decoder, self._states = decoder, states
        new, device = states[0].new_zeros, states[0].device
        self._inputs = new(rows, tokens, decoder.dimension)
        self._positions = new(rows, tokens, dtype=torch.long)
        self._where = new(tokens, dtype=torch.long)
        self._mask = new(rows, 1, tokens, columns, dtype=torch.bool)
        self._steps = torch.arange(tokens, device=device)
        self._columns = torch.arange(columns, device=device)
        self._angles = decoder.angles(columns)

    def fill(
        self, inputs: torch.Tensor, positions: torch.Tensor, start: int, mask: torch.Tensor | None
    ) -> None:
        """Write the data of a pass into its memory; tokens and rows beyond them keep what they had.

        Args:
            inputs: embeddings, (rows, q, dimension).
            positions: their positions, (rows or 1, q).
            start: columns that are filled already.
            mask: True where a query may look, (rows or 1, 1, q, start + q); None for plain causal attention.
        """
        rows, count, _ = inputs.shape
        self._inputs[:rows, :count].copy_(inputs)
        self._positions[:rows, :count].copy_(positions)
        torch.add(self._steps, start, out=self._where)
        self._mask.copy_(self._columns <= self._where[:, None])
        if mask is not None:
            self._mask[:rows, :, :count, : start + count].copy_(mask)

    def arguments(self) -> tuple[Any, ...]:
        """Return the arguments of `StaticDecoder.run_bucket`, tensors that stay the same."""
        return self._inputs, self._positions, self._where, self._mask, self._angles, self._states

    def run(self) -> torch.Tensor:
        """Return the last hidden states of all rows and tokens, (rows, tokens, dimension)."""
        return self.decoder.run_bucket(*self.arguments())


def _round_up(count: int, step: int) -> int:
    """Return the smallest multiple of `step` that is at least `count`."""
    return -(-count // step) * step
