"""Causal attention behind a cached prefix, at the price of attention without one.

transformers gives a prompt that follows a cached prefix an explicit mask. torch's kernels then compute every
pair of query and key and throw half of them away, which for prompts of thousands of tokens costs more than
the prefix saves. Queries of zeros in front make the pairs square again, so that the kernel's own causal order
holds; their output is dropped. No mask for padding is taken: rows are padded on the right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F

if TYPE_CHECKING:
    import torch

_NAME = "rerankbench_prefixed_sdpa"


def use_prefixed_attention(decoder: Any) -> None:
    """Make a decoder of transformers attend in this way, if it uses sdpa in plain causal layers only."""
    from transformers import AttentionInterface, AttentionMaskInterface

    config = decoder.config
    layers = set(getattr(config, "layer_types", None) or ())
    if config._attn_implementation == "sdpa" and layers == {"full_attention"}:
        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, _no_mask)
        decoder.set_attn_implementation(_NAME)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Return causal attention behind a cached prefix, (batch, queries, heads, dimension), and no weights.

    Args:
        module: the attention layer.
        query: (batch, heads, queries, dimension).
        key, value: of the prefix and, last, of the queries' own tokens.
        attention_mask: None.
        settings: further arguments of transformers' sdpa attention.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    before = key.shape[2] - query.shape[2]
    if before == 0 or query.shape[2] == 1:  # a single query sees every key
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    whole = F.pad(query, (0, 0, before, 0))
    output, _ = sdpa_attention_forward(module, whole, key, value, attention_mask, **settings)
    return output[:, before:], None  # (batch, queries, heads, dimension)


def _no_mask(*_arguments: Any, **_settings: Any) -> None:
    """Return no mask, since attention is causal and no row has padding in front."""
