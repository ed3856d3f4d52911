"""A decoder's forward pass in twelve operations a layer.

transformers' own pass of a 32-layer Mistral dispatches about 1,300 operations that compute something, each a
launch from Python on a GPU. Here queries, keys and values come from one product, gate and up from another,
residual sums are part of a product, and rotary positions are one small product per token: a vector times the
rotation matrix of its position. Prefill and decoding are the same function, and everything that differs
between two passes of one shape (embeddings, positions, mask) is data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F

from rerankers.llm.static.activations import Activations
from rerankers.llm.static.buffers import KeyValueBuffers
from rerankers.llm.static.norm import RMSNorm
from rerankers.llm.static.packing import pack_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_POSITIONS = 1024  # by which the table of angles grows


class Attention(NamedTuple):
    """The keys and values that the queries of a pass look at, and the mask.

    Attributes:
        states: keys of the first layer, its values, keys of the second, and so on, each
            (rows, heads, columns, head dimension).
        bias: 0 or minus infinity, added to scores, (rows or 1, 1, q, columns); None if there is none.
        is_causal: whether each query looks at its own and earlier columns, which are all there are.
    """

    states: Sequence[torch.Tensor]
    bias: torch.Tensor | None
    is_causal: bool = False


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
        self._heads: tuple[int, int, int] = (  # heads of queries, heads of keys, dimension of a head
            config.num_attention_heads,
            config.num_key_value_heads,
            attention.head_dim,
        )
        self._angles_of = decoder.rotary_emb
        half = attention.head_dim // 2
        identity = torch.eye(attention.head_dim, dtype=self._embedding.dtype, device=self._embedding.device)
        self._identity = identity
        self._quarter_turn = torch.cat([identity[half:], -identity[:half]])  # (x1, x2) to (-x2, x1)
        self._angles = identity[:0], identity[:0]  # (positions, head dimension)

    def new_buffers(self) -> KeyValueBuffers:
        """Return empty key and value buffers for this decoder."""
        return KeyValueBuffers(*self.buffer_shape)

    @property
    def buffer_shape(self) -> tuple[int, int, int, torch.dtype, torch.device]:
        """The arguments of `KeyValueBuffers` for this decoder."""
        embedding = self._embedding
        return len(self._layers), *self._heads[1:], embedding.dtype, embedding.device

    @property
    def dimension(self) -> int:
        """The number of components of an embedding."""
        return len(self._embedding)

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
        rows, count, _ = inputs.shape
        states = buffers.append(rows, count)
        columns = states.shape[2]
        rotation = self._rotation(positions.expand(rows, count).reshape(-1), self.angles(columns))
        new = states[:, :, columns - count :].unbind()
        attention = Attention(states.transpose(2, 3).unbind(), self._bias(mask, count, columns, inputs))
        if mask is None and 1 < count == columns:
            attention = attention._replace(is_causal=True)

        def write(side: int, heads: torch.Tensor) -> None:
            """Write new keys or values, (rows, q, heads, head dimension), into the buffers."""
            new[side].copy_(heads)

        return self._run(inputs, rotation, attention, write)

    def run_bucket(
        self,
        inputs: torch.Tensor,
        positions: torch.Tensor,
        where: torch.Tensor,
        mask: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        states: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """Return the last hidden states, (rows, q, dimension), of embeddings, all shapes being those of a
        bucket.

        Nothing depends on the values of tensors, so the pass can be captured.

        Args:
            inputs: embeddings, (rows, q, dimension).
            positions: their positions, (rows, q).
            where: the columns of their keys and values, (q,).
            mask: True where a query may look, (rows, 1, q, columns).
            angles: those of `angles`.
            states: keys and values, overwritten in these columns: keys of the first layer, its values, keys
                of the second, and so on, each (rows, columns, heads, head dimension).
        """
        rotation = self._rotation(positions.reshape(-1), angles)
        bias = torch.zeros_like(mask, dtype=inputs.dtype).masked_fill_(~mask, -torch.inf)
        seen = Attention([side.transpose(1, 2) for side in states], bias)

        def write(side: int, heads: torch.Tensor) -> None:
            """Write new keys or values, (rows, q, heads, head dimension), into their columns."""
            states[side].index_copy_(1, where, heads)

        return self._run(inputs, rotation, seen, write)

    def _bias(
        self, mask: torch.Tensor | None, count: int, columns: int, inputs: torch.Tensor
    ) -> torch.Tensor | None:
        """Return what is added to scores, made once where attention makes it of a mask in each layer.

        Args:
            mask: True where a query may look; None for plain causal attention.
            count: queries.
            columns: columns of keys, the queries' own last.
            inputs: of the pass, for dtype and device.

        Returns:
            0 or minus infinity, (rows or 1, 1, q, columns); None if attention needs no bias.
        """
        if mask is not None:
            return torch.zeros_like(mask, dtype=inputs.dtype).masked_fill_(~mask, -torch.inf)
        if not 1 < count < columns:
            return None
        return inputs.new_full((1, 1, count, columns), -torch.inf).triu_(columns - count + 1)

    def _run(
        self,
        inputs: torch.Tensor,
        rotation: torch.Tensor,
        attention: Attention,
        write: Callable[[int, torch.Tensor], None],
    ) -> torch.Tensor:
        """Run all layers and return the last hidden states, (rows, q, dimension).

        Args:
            inputs: embeddings, (rows, q, dimension).
            rotation: of each token's position, (rows * q, head dimension, head dimension).
            attention: keys and values, and the bias of scores.
            write: writes a layer's new heads to where attention reads them; it takes the number of the keys
                (0 for those of the first layer, 2, ...) or of the values (1, 3, ...), and the heads.
        """
        rows, count, dimension = inputs.shape
        hidden = inputs.reshape(-1, dimension).clone()  # (rows * q, dimension), the residual stream
        memory = Activations.of(hidden, (rows, count), self._heads, self._layers[0].gate_up.outputs // 2)
        has_groups = self._heads[0] != self._heads[1]
        for number, layer in enumerate(self._layers):
            layer.qkv.write_to(memory.qkv, layer.attention_norm.of(hidden))
            unturned = memory.unturned
            if layer.head_norm is not None:
                unturned = F.rms_norm(unturned, unturned.shape[2:], None, self._epsilon).mul_(layer.head_norm)
            torch.bmm(unturned, rotation, out=memory.turned)
            write(2 * number, memory.keys)
            write(2 * number + 1, memory.values)
            mixed = F.scaled_dot_product_attention(
                memory.queries,
                attention.states[2 * number],
                attention.states[2 * number + 1],
                attn_mask=attention.bias,
                is_causal=attention.is_causal,
                scale=self._scaling,
                enable_gqa=has_groups,
            )
            layer.output.add_to(hidden, mixed.transpose(1, 2).reshape(len(hidden), -1))
            layer.gate_up.write_to(memory.gate_up, layer.feed_forward_norm.of(hidden))
            layer.down.add_to(hidden, F.silu(memory.gate).mul_(memory.up))
        return self._norm.of(hidden).view(rows, count, dimension)

    def _rotation(self, positions: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the matrices that rotate a head, as a row, to each position: (n, dimension, dimension).

        Args:
            positions: (n,)
            angles: cosines and sines of all positions up to the last of them.
        """
        cosines, sines = (table[positions, None] for table in angles)
        return torch.addcmul(self._identity * cosines, self._quarter_turn, sines)

    def angles(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the cosines and sines of positions 0 to `count` - 1 and of some more, as the decoder's own
        module gives them: (positions, head dimension).

        The count is known on the host, so nothing waits for the device.
        """
        if len(self._angles[0]) < count:
            positions = torch.arange(-(-count // _POSITIONS) * _POSITIONS, device=self._embedding.device)
            cosines, sines = self._angles_of(self._embedding[None], positions[None])
            self._angles = cosines[0], sines[0]
        return self._angles
