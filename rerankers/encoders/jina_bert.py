"""Jina embeddings v2 (arXiv 2310.19923): BERT with ALiBi positions and a gated feed-forward.

The hub's checkpoints call themselves `model_type: bert`, and their code, kept in another repository, does not
load with current transformers. This is the same network under the same weight names, without remote code:
post-layer-norm BERT; every head adds -slope * |i - j| to its attention scores (arXiv 2108.12409, made
symmetric for an encoder); the feed-forward is GELU(x W) * (x V) (arXiv 2002.05202).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping


POOLING = "mean"
"""The authors' pooling of tokens (section 4 of the paper), for folders that do not say."""


@dataclass(slots=True)
class JinaBertConfig:
    """The fields of `config.json` that the network depends on, under the hub's names."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    type_vocab_size: int
    layer_norm_eps: float
    position_embedding_type: str = "alibi"
    _attn_implementation: str = "sdpa"
    _commit_hash: str | None = None

    @classmethod
    def of(cls, stated: Mapping[str, Any], name: str) -> JinaBertConfig:
        """Return the fields that the network needs, from the content of `config.json`.

        Args:
            stated: the content.
            name: the model's name, for errors.

        Raises:
            ModelError: it describes another network, or lacks a field.
        """
        expected = {"position_embedding_type": "alibi", "feed_forward_type": "geglu", "hidden_act": "gelu"}
        for key, value in expected.items():
            if stated.get(key) != value:
                raise ModelError(f"{name!r}: a Jina BERT has {key} {value!r}, this one {stated.get(key)!r}")
        fields = [field for field in cls.__slots__ if not field.startswith("_")]
        missing = [field for field in fields if field not in stated]
        if missing:
            raise ModelError(f"{name!r}: config.json lacks {', '.join(missing)}")
        return cls(**{field: stated[field] for field in fields})


@dataclass(frozen=True, slots=True)
class Output:
    """The last hidden states, (batch, tokens, hidden size), under transformers' name."""

    last_hidden_state: torch.Tensor


class JinaBert(nn.Module):
    """The network of Jina v2; its module names give the hub's weight names."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.register_buffer("slopes", alibi_slopes(config.num_attention_heads), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.embeddings.word_embeddings.weight.dtype

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Output:
        """Return the last hidden states, (batch, tokens, hidden size).

        Args:
            input_ids: token ids, (batch, tokens).
            attention_mask: 1 at tokens and 0 at padding, (batch, tokens).
        """
        hidden = self.embeddings(input_ids)
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        distance = (place[:, None] - place[None]).abs()
        slopes: torch.Tensor = self.slopes  # type: ignore[assignment]
        bias = -slopes.float()[:, None, None] * distance  # (heads, tokens, tokens)
        padding = (attention_mask == 0)[:, None, None]  # (batch, 1, 1, tokens)
        bias = bias[None].masked_fill(padding, torch.finfo(hidden.dtype).min).to(hidden.dtype)
        for layer in self.encoder.layer:  # type: ignore[union-attr]
            hidden = layer(hidden, bias)
        return Output(hidden)


class _Embeddings(nn.Module):
    """The sum of word and token-type embeddings, layer-normed."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return token embeddings, (batch, tokens, hidden size), of token ids, (batch, tokens), all
        of type 0.
        """
        normed: torch.Tensor = self.LayerNorm(
            self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0]
        )
        return normed


class _Layer(nn.Module):
    """A layer of the network: attention, then the gated feed-forward."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.mlp = _GatedFeedForward(config)

    def forward(self, hidden: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, (batch, tokens, hidden size), from hidden states and the bias of
        attention scores.
        """
        output: torch.Tensor = self.mlp(self.attention(hidden, bias))
        return output


class _Attention(nn.Module):
    """Self-attention with a bias for positions, a residual connection and a layer norm behind it."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.self = nn.ModuleDict({name: nn.Linear(size, size) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict(
            {"dense": nn.Linear(size, size), "LayerNorm": nn.LayerNorm(size, eps=config.layer_norm_eps)}
        )
        self._heads = config.num_attention_heads

    def forward(self, hidden: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return attended hidden states, (batch, tokens, hidden size).

        Args:
            hidden: (batch, tokens, hidden size).
            bias: added to attention scores, (batch, heads, tokens, tokens).
        """
        batch, tokens, size = hidden.shape
        query, key, value = (
            self.self[name](hidden).view(batch, tokens, self._heads, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = mixed.transpose(1, 2).reshape(batch, tokens, size)
        normed: torch.Tensor = self.output["LayerNorm"](self.output["dense"](mixed) + hidden)
        return normed


class _GatedFeedForward(nn.Module):
    """A gated feed-forward, (GELU(x W) * (x V)) O, with a residual connection and a layer norm behind it."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the images of hidden states, (batch, tokens, hidden size)."""
        gate, value = self.gated_layers(hidden).chunk(2, dim=-1)
        normed: torch.Tensor = self.layernorm(self.wo(F.gelu(gate) * value) + hidden)
        return normed


def alibi_slopes(heads: int) -> torch.Tensor:
    """Return ALiBi's slope of each head, (heads,).

    For a power of two they form a geometric series. Otherwise the series of the power below is filled up with
    every other slope of the power above.
    """

    def geometric(count: int) -> list[float]:
        """Return the slopes of `count` heads, a power of two: a geometric series."""
        start = 2.0 ** (-(2.0 ** -(math.log2(count) - 3)))
        return [start ** (i + 1) for i in range(count)]

    power = 2 ** math.floor(math.log2(heads))
    slopes = geometric(power)
    if power < heads:
        slopes += geometric(2 * power)[0::2][: heads - power]
    return torch.tensor(slopes)
