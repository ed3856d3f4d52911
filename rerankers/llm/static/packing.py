"""A decoder's weights, packed: one matrix for queries, keys and values, and one for gate and up.

The modules of transformers keep working: their weights become views of the packed ones, so nothing is held
twice. Covered are the decoders of Llama, Mistral, Qwen2 and Qwen3 (RMSNorm, rotary positions, grouped-query
attention, SwiGLU). `refusal` gives the reason why any other decoder cannot be packed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rerankers.llm.static.norm import RMSNorm

_DECODERS = ("LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model")
_ROTATIONS = ("default", "linear", "llama3", "yarn")  # those whose angles do not depend on the length
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear map: `weight` is (input, output) as `torch.mm` takes it; `bias` is (output,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def outputs(self) -> int:
        """The number of components of an image."""
        return self.weight.shape[1]

    def write_to(self, images: torch.Tensor, rows: torch.Tensor) -> None:
        """Write the images of rows (tokens, input) to `images` (tokens, output)."""
        if self.bias is None:
            torch.mm(rows, self.weight, out=images)
        else:
            torch.addmm(self.bias, rows, self.weight, out=images)

    def add_to(self, residual: torch.Tensor, rows: torch.Tensor) -> None:
        """Add the images of rows (tokens, input) to `residual` (tokens, output), in place."""
        torch.addmm(residual, rows, self.weight, out=residual)  # not addmm_, which torch's FLOP count omits
        if self.bias is not None:
            residual.add_(self.bias)


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """The packed weights of one decoder layer.

    Attributes:
        attention_norm: the norm before attention.
        qkv: the projection to queries, keys and values, one after the other.
        head_norm: weights of the norms of query and key heads, (query heads + key heads, head dimension);
            None where the decoder has none.
        output: the projection from attention back to the residual stream.
        feed_forward_norm: the norm before the feed-forward part.
        gate_up: the projection to gate and up, one after the other.
        down: the projection from the feed-forward part back to the residual stream.
    """

    attention_norm: RMSNorm
    qkv: Projection
    head_norm: torch.Tensor | None
    output: Projection
    feed_forward_norm: RMSNorm
    gate_up: Projection
    down: Projection


def refusal(decoder: Any) -> str | None:
    """Return the reason why a decoder of transformers cannot be packed, in a few words; None if it can."""
    kind = type(decoder).__name__
    if kind not in _DECODERS:
        return f"{kind} is not one of {', '.join(_DECODERS)}"
    config = decoder.config
    if config.hidden_act not in ("silu", "swish"):
        return f"the activation is {config.hidden_act}, not silu"
    rotation = decoder.rotary_emb.rope_type
    if rotation not in _ROTATIONS:
        return f"rotary positions of type {rotation} depend on the length"
    weights = {weight.dtype for weight in decoder.layers.parameters()}
    if len(weights) != 1:
        return "the weights have several dtypes"
    for layer in decoder.layers:
        maps = [getattr(layer.self_attn, name) for name in _ATTENTION]
        maps += [getattr(layer.mlp, name) for name in _FEED_FORWARD]
        if any(type(each) is not nn.Linear for each in maps):
            return "a projection is not a plain linear map"
    return None


@torch.no_grad()
def pack_layers(decoder: Any) -> list[PackedLayer]:
    """Return the packed layers of a decoder; the weights of its own modules become views of the packed ones.

    Args:
        decoder: a decoder for which `refusal` returns None.
    """
    layers, epsilon = [], decoder.config.rms_norm_eps
    for layer in decoder.layers:
        attention, feed_forward = layer.self_attn, layer.mlp
        layers.append(
            PackedLayer(
                attention_norm=RMSNorm(layer.input_layernorm.weight, epsilon),
                qkv=_packed(attention.q_proj, attention.k_proj, attention.v_proj),
                head_norm=_head_norm(attention, decoder.config),
                output=_packed(attention.o_proj),
                feed_forward_norm=RMSNorm(layer.post_attention_layernorm.weight, epsilon),
                gate_up=_packed(feed_forward.gate_proj, feed_forward.up_proj),
                down=_packed(feed_forward.down_proj),
            )
        )
    return layers


def _packed(*maps: nn.Linear) -> Projection:
    """Return one projection for linear maps of the same input, their outputs one after the other."""
    if len(maps) == 1:
        bias = None if maps[0].bias is None else maps[0].bias.detach()
        return Projection(maps[0].weight.detach().t(), bias)
    sizes = [each.out_features for each in maps]
    weight = torch.cat([each.weight for each in maps])
    for each, part in zip(maps, torch.split(weight, sizes), strict=True):
        each.weight.data = part
    biases = [
        torch.zeros(each.out_features, dtype=weight.dtype, device=weight.device)
        if each.bias is None
        else each.bias.detach()
        for each in maps
    ]
    has_bias = any(each.bias is not None for each in maps)
    return Projection(weight.t(), torch.cat(biases) if has_bias else None)


def _head_norm(attention: Any, config: Any) -> torch.Tensor | None:
    """Return the weights of an attention layer's norms of query and key heads, one row a head.

    Args:
        attention: the layer.
        config: the decoder's configuration.

    Returns:
        (query heads + key heads, head dimension); None if the layer has no such norms.
    """
    if not hasattr(attention, "q_norm"):
        return None
    heads = (config.num_attention_heads, config.num_key_value_heads)
    norms = (attention.q_norm, attention.k_norm)
    return torch.cat([norm.weight.expand(count, -1) for norm, count in zip(norms, heads, strict=True)])
