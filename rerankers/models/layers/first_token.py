"""The last layer of BERT-like networks, computed for the first token only, where nothing else of it is read.

Cross-encoders and encoders with `cls` pooling read one vector a text: the first token's, after the last
layer. That layer needs all tokens as input, but a query, an attention output and a feed-forward block for the
first token alone. Keys and values are not needed either. The score of a token x is q·(K x) = (q K)·x, and the
weighted sum of the values V x is V times the weighted sum of the x. What remains is two products of the input
with one vector a head: a small part of the layer, which is a sixth of MiniLM-L6 and a twelfth of BERT-base.
Outputs are those of the whole layer up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_BERT_LAYERS = {"BertLayer", "CamembertLayer", "ElectraLayer", "RobertaLayer", "XLMRobertaLayer"}
_AFTER_POOLING = {"Dense", "Dropout", "LayerNorm", "Normalize"}
"""Modules of sentence-transformers that read the pooled vector only."""


class FirstTokenLayer(nn.Module):
    """A transformer's last layer for the first token, in place of the whole layer.

    Args:
        query: the layer's linear layer of queries.
        key: that of keys. Its bias adds the same number to all scores of a text, which softmax ignores.
        value: that of values.
        heads: the number of attention heads.
        rest: the rest of the layer: from the attention's output and the layer's input at the first token,
            (texts, 1, hidden size) each, to the layer's output.
    """

    def __init__(
        self, query: nn.Linear, key: nn.Linear, value: nn.Linear, heads: int, rest: nn.Module
    ) -> None:
        super().__init__()
        self.query, self.rest = query, rest
        self._keys: torch.Tensor
        self._values: torch.Tensor
        self._value_bias: torch.Tensor
        self._heads, self._scale = heads, (query.out_features // heads) ** -0.5
        by_head = (heads, query.out_features // heads, query.in_features)
        values = value.weight.detach().float().view(by_head).transpose(1, 2).contiguous()
        bias = torch.zeros_like(value.weight[:, 0]) if value.bias is None else value.bias.detach()
        self.register_buffer("_keys", key.weight.detach().float().view(by_head), persistent=False)
        self.register_buffer("_values", values, persistent=False)
        self.register_buffer("_value_bias", bias.float(), persistent=False)

    def forward(
        self, vectors: torch.Tensor, mask: torch.Tensor | None = None, *_: object, **__: object
    ) -> torch.Tensor:
        """Return the layer's output at the first token, (texts, 1, hidden size).

        Args:
            vectors: the layer's input, (texts, tokens, hidden size).
            mask: (texts, 1, queries, tokens): true for the tokens to read, or numbers to add to the scores.
        """
        first = vectors[:, :1]
        attended = self._attend(first, vectors.float(), mask).to(vectors.dtype)
        output: torch.Tensor = self.rest(attended, first)
        return output

    def _attend(self, first: torch.Tensor, vectors: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the attention's output for the first token, (texts, 1, heads * size), in float32."""
        texts = len(vectors)
        queries = self.query(first).float().view(texts, self._heads, -1) * self._scale
        directions = (queries.transpose(0, 1) @ self._keys).transpose(0, 1)  # (texts, heads, hidden size)
        scores = directions @ vectors.transpose(1, 2)  # (texts, heads, tokens)
        if mask is not None:
            row = mask[:, :, 0]  # (texts, 1, tokens)
            scores = scores.masked_fill(~row, -torch.inf) if row.dtype == torch.bool else scores + row
        mixed = scores.softmax(dim=-1) @ vectors  # (texts, heads, hidden size)
        output = (mixed.transpose(0, 1) @ self._values).transpose(0, 1)  # (texts, heads, size)
        attended: torch.Tensor = output.reshape(texts, 1, -1) + self._value_bias
        return attended


class _BertRest(nn.Module):
    """A BERT layer behind its attention."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention_output = layer.attention.output
        self.intermediate, self.output = layer.intermediate, layer.output

    def forward(self, attended: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        attended = self.attention_output(attended, first)
        result: torch.Tensor = self.output(self.intermediate(attended), attended)
        return result


class _DistilBertRest(nn.Module):
    """A DistilBERT layer behind its attention."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention_output, self.attention_norm = layer.attention.out_lin, layer.sa_layer_norm
        self.feed_forward, self.output_norm = layer.ffn, layer.output_layer_norm

    def forward(self, attended: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        attended = self.attention_norm(self.attention_output(attended) + first)
        result: torch.Tensor = self.output_norm(self.feed_forward(attended) + attended)
        return result


def read_first_token_only(model: Any) -> bool:
    """Replace the last layer of a model's transformer, if only its first token is read.

    The network can no longer be trained, exported or saved.

    Args:
        model: a `SentenceTransformer` or `CrossEncoder` in evaluation mode, whose texts are padded on the
            right.

    Returns:
        Whether the layer was replaced.
    """
    network = getattr(model[0], "model", None)
    if network is None or not _reads_first_token(network, list(model)):
        return False
    base = getattr(network, "base_model", network)
    layers = getattr(getattr(base, "encoder", getattr(base, "transformer", None)), "layer", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        return False
    layer = _for_first_token(layers[-1])
    if layer is None:
        return False
    layers[-1] = layer.to(network.device).eval()
    return True


def _reads_first_token(network: Any, modules: list[Any]) -> bool:
    """Return whether a network's outputs at other tokens than the first are read by nothing.

    Args:
        network: a model of transformers.
        modules: the modules of the sentence-transformers model, in order, that with the network first.
    """
    config = network.config
    keeps_more = any(getattr(config, f"output_{part}", False) for part in ("attentions", "hidden_states"))
    if keeps_more or getattr(config, "is_decoder", False):
        return False
    if getattr(config, "_attn_implementation", None) not in ("eager", "sdpa"):  # of which the mask is known
        return False
    if len(modules) == 1:  # classifiers of these families read the first token
        return type(network).__name__.endswith("ForSequenceClassification")
    pooling = modules[1]
    return (
        type(pooling).__name__ == "Pooling"
        and pooling.pooling_mode in ("cls", ("cls",))
        and pooling.include_prompt
        and all(type(module).__name__ in _AFTER_POOLING for module in modules[2:])
    )


def _for_first_token(layer: Any) -> FirstTokenLayer | None:
    """Return a layer of transformers for the first token only; None for a layer of another kind."""
    kind = type(layer)
    if not kind.__module__.startswith("transformers.models."):
        return None
    if kind.__name__ in _BERT_LAYERS:
        attention = layer.attention.self
        linear = (attention.query, attention.key, attention.value)
        heads = attention.num_attention_heads
        rest: nn.Module = _BertRest(layer)
    elif kind.__name__ == "TransformerBlock":  # of DistilBERT
        attention = layer.attention
        linear = (attention.q_lin, attention.k_lin, attention.v_lin)
        heads, rest = attention.n_heads, _DistilBertRest(layer)
    else:
        return None
    if any(type(each) is not nn.Linear for each in linear):  # such as quantized ones
        return None
    return FirstTokenLayer(*linear, heads, rest)
