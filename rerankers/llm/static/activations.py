"""The activations of one pass: memory that every layer overwrites, and the views of it that a layer needs.

A view costs the host as much as a small operation, and it is the same in every layer if the memory is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Activations(NamedTuple):
    """The memory of one pass of `tokens` = rows * q tokens, and views of it.

    Attributes:
        qkv: queries, keys and values of a layer, (tokens, width).
        unturned: its heads of queries and keys before their rotation, (tokens, heads, head dimension).
        values: its heads of values, (rows, q, heads of keys, head dimension).
        turned: rotated heads of queries and keys, (tokens, heads, head dimension).
        queries: those of queries, (rows, heads of queries, q, head dimension).
        keys: those of keys, (rows, q, heads of keys, head dimension).
        gate_up: gate and up of a layer, (tokens, 2 * width).
        gate, up: its halves, (tokens, width).
    """

    qkv: torch.Tensor
    unturned: torch.Tensor
    values: torch.Tensor
    turned: torch.Tensor
    queries: torch.Tensor
    keys: torch.Tensor
    gate_up: torch.Tensor
    gate: torch.Tensor
    up: torch.Tensor

    @classmethod
    def of(
        cls, like: torch.Tensor, shape: tuple[int, int], heads: tuple[int, int, int], feed_forward: int
    ) -> Activations:
        """Return activations without content.

        Args:
            like: a tensor whose dtype and device they have.
            shape: rows, and tokens of each.
            heads: heads of queries, heads of keys, and the dimension of a head.
            feed_forward: width of gate, which is that of up.
        """
        (rows, count), (query_heads, key_heads, dimension) = shape, heads
        tokens, turning = rows * count, query_heads + key_heads
        qkv = like.new_empty(tokens, turning + key_heads, dimension)
        turned = like.new_empty(tokens, turning, dimension)
        by_row = turned.view(rows, count, turning, dimension)
        gate_up = like.new_empty(tokens, 2 * feed_forward)
        return cls(
            qkv=qkv.view(tokens, -1),
            unturned=qkv[:, :turning],
            values=qkv[:, turning:].view(rows, count, key_heads, dimension),
            turned=turned,
            queries=by_row[:, :, :query_heads].transpose(1, 2),
            keys=by_row[:, :, query_heads:],
            gate_up=gate_up,
            gate=gate_up[:, :feed_forward],
            up=gate_up[:, feed_forward:],
        )
