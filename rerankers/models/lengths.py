"""The number of a transformer's usable token positions, from its configuration."""

from __future__ import annotations

from typing import Any

# Positions of these models start behind the padding token's id (fairseq's layout), so the first rows of
# their position table are never used by a token.
_OFFSET_BY_PADDING = {
    "altclip_text_model",
    "bridgetower_text_model",
    "camembert",
    "clap_text_model",
    "data2vec-text",
    "esm",
    "ibert",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
_MPNET_PADDING = 1  # MPNet's code fixes the padding row, whatever its configuration says


def usable_positions(config: Any) -> int | None:
    """Return the longest input in tokens, special ones included; None where positions set no limit.

    RoBERTa and its relatives number positions from `pad_token_id + 1` on, so that
    `max_position_embeddings - pad_token_id - 1` tokens fit. One token more is an index error in the table.

    Args:
        config: a transformers configuration, or another object with the same field names.
    """
    stated = getattr(config, "max_position_embeddings", None)
    scheme = getattr(config, "position_embedding_type", None)
    if not isinstance(stated, int) or stated <= 0 or scheme == "alibi":
        return None
    model_type = getattr(config, "model_type", None)
    if model_type == "mpnet":
        return stated - _MPNET_PADDING - 1
    if model_type in _OFFSET_BY_PADDING and scheme not in ("rotary", "rope"):
        return stated - (getattr(config, "pad_token_id", None) or 0) - 1
    return stated
