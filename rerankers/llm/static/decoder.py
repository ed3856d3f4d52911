"""A decoder's forward pass in twelve operations a layer.

transformers' own pass of a 32-layer Mistral dispatches about 1,300 operations that compute something, each a
launch from Python on a GPU. Here queries, keys and values come from one product, gate and up from another,
residual sums are part of a product, and rotary positions are one small product per token: a vector times the
rotation matrix of its position. Prefill and decoding are the same function, and everything that differs
between two passes of one shape (embeddings, positions, mask) is data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from rerankers.llm.static.buffers import KeyValueBuffers
from rerankers.llm.static.norm import RMSNorm
from rerankers.llm.static.packing import pack_layers

if TYPE_CHECKING:
    from rerankers.llm.static.packing import PackedLayer

_POSITIONS = 1024  # by which the table of angles grows


class StaticDecoder:
    """A decoder of transformers with packed weights; its own modules share them and keep working.

    Args:
        decoder: a decoder for which `rerankers.llm.static.packing.refusal` returns None.
    """

    def __init__(self, decoder: Any) -> None:
        config, attention = decoder.config, decoder.layers[0].self_attn
        self._layers = pack_layers(decoder)
        self._epsilon: float = config.rms_norm_eps
        self._norm = RMSNorm(decoder.norm.weight, self._epsilon)
        self._embedding = decoder.norm.weight.detach()  # of any token: dtype and device
        self._scaling: float = attention.scaling
        self._heads: int = config.num_attention_heads
        self._key_heads: int = config.num_key_value_heads
        self._head_dimension: int = attention.head_dim
        self._angles_of = decoder.rotary_emb
        half = self._head_dimension // 2
        identity = torch.eye(self._head_dimension, dtype=self._embedding.dtype, device=self._embedding.device)
        self._identity = identity
        self._quarter_turn = torch.cat([identity[half:], -identity[:half]])  # (x1, x2) to (-x2, x1)
        self._cosines = self._sines = identity[:0]  # (positions, head dimension)

    def new_buffers(self) -> KeyValueBuffers:
        """Return empty key and value buffers for this decoder."""
        return KeyValueBuffers(
            len(self._layers),
            self._key_heads,
            self._head_dimension,
            self._embedding.dtype,
            self._embedding.device,
        )

    def forward(
        self,
        inputs: torch.Tensor,
        positions: torch.Tensor,
        buffers: KeyValueBuffers,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the last hidden states, (rows, q, dimension), of embeddings that follow the columns in
        `buffers`.

        Args:
            inputs: embeddings, (rows, q, dimension).
            positions: their positions, (rows or 1, q), each at most the number of its column.
            buffers: keys and values of earlier columns; the new ones are appended.
            mask: True where a query may look, (rows or 1, 1, q, columns); None for plain causal attention.
        """
        rows, count, dimension = inputs.shape
        states = buffers.append(rows, count)
        columns = states.shape[2]
        rotation = self._rotation(positions.expand(rows, count).reshape(-1), columns)
        is_causal = mask is None and 1 < count == columns
        if mask is None and 1 < count < columns:
            mask = torch.ones(1, 1, count, columns, dtype=torch.bool, device=inputs.device)
            mask = mask.tril_(columns - count)
        bias = None  # added to scores; made once, where scaled_dot_product_attention makes it in each layer
        if mask is not None:
            bias = torch.zeros_like(mask, dtype=inputs.dtype).masked_fill_(~mask, -torch.inf)
        new = iter(states[:, :, columns - count :].unbind())
        seen = iter(states.transpose(2, 3).unbind())
        hidden = inputs.reshape(-1, dimension).clone()  # (rows * q, dimension), the residual stream
        for layer in self._layers:
            queries = self._write(hidden, layer, rotation, next(new), next(new))
            mixed = F.scaled_dot_product_attention(
                queries,
                next(seen),
                next(seen),
                attn_mask=bias,
                is_causal=is_causal,
                scale=self._scaling,
                enable_gqa=self._heads != self._key_heads,
            )
            layer.output.add_to(hidden, mixed.transpose(1, 2).reshape(len(hidden), -1))
            gate, up = layer.gate_up.of(layer.feed_forward_norm.of(hidden)).chunk(2, dim=1)
            layer.down.add_to(hidden, F.silu(gate).mul_(up))
        return self._norm.of(hidden).view(rows, count, dimension)

    def _write(
        self,
        hidden: torch.Tensor,
        layer: PackedLayer,
        rotation: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        """Write a layer's new keys and values, and return its queries: (rows, heads, q, head dimension).

        Args:
            hidden: the residual stream, (rows * q, dimension).
            layer: its weights.
            rotation: of each token's position, (rows * q, head dimension, head dimension).
            keys: filled with the new keys, (rows, q, heads of keys, head dimension).
            values: filled with the new values, of the same shape.
        """
        heads = layer.qkv.of(layer.attention_norm.of(hidden)).view(len(hidden), -1, self._head_dimension)
        turned, plain = torch.split_with_sizes(heads, [self._heads + self._key_heads, self._key_heads], dim=1)
        if layer.head_norm is not None:
            turned = F.rms_norm(turned, turned.shape[2:], None, self._epsilon).mul_(layer.head_norm)
        turned = torch.bmm(turned, rotation).view(*keys.shape[:2], -1, self._head_dimension)
        queries, turned_keys = torch.split_with_sizes(turned, [self._heads, self._key_heads], dim=2)
        keys.copy_(turned_keys)
        values.copy_(plain.view(values.shape))
        return queries.transpose(1, 2)

    def _rotation(self, positions: torch.Tensor, limit: int) -> torch.Tensor:
        """Return the matrices that rotate a head, as a row, to each position: (n, dimension, dimension).

        Args:
            positions: (n,), each below `limit`.
            limit: known on the host, so that nothing waits for the device.
        """
        if len(self._cosines) < limit:
            self._extend_angles(-(-limit // _POSITIONS) * _POSITIONS)
        cosines, sines = self._cosines[positions, None], self._sines[positions, None]
        return torch.addcmul(self._identity * cosines, self._quarter_turn, sines)

    def _extend_angles(self, count: int) -> None:
        """Tabulate the cosines and sines of positions 0 to `count` - 1, as the decoder's own module
        gives them.
        """
        positions = torch.arange(count, device=self._embedding.device)[None]
        cosines, sines = self._angles_of(self._embedding[None], positions)
        self._cosines, self._sines = cosines[0], sines[0]
