"""The record's entry on an encoder's modules, and the digest of its weights."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from rerankers.encoders.backbone import Backbone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from rerankers.models.locate import ModelFiles

_OUR_NAMES = {"lasttoken": "last_token"}


def describe_network(
    model: Any, files: ModelFiles, weights: Mapping[str, torch.Tensor] | None
) -> dict[str, object]:
    """Return the record's entry: version, architecture, dtype, attention, modules, and digests of weights.

    Args:
        model: a `SentenceTransformer`.
        files: the location that it was loaded from.
        weights: the transformer's, if they came from elsewhere.
    """
    first = next((module.model for module in model.modules() if _reads(module)), model[0])
    config = getattr(first, "config", None)
    transformer_weights = {
        id(weight) for module in model.modules() if _reads(module) for weight in module.parameters()
    }
    head = [
        (name, weight) for name, weight in model.named_parameters() if id(weight) not in transformer_weights
    ]
    return {
        "revision": getattr(config, "_commit_hash", None) or files.fingerprint or files.revision,
        "architecture": type(first).__name__,
        "dtype": str(next(first.parameters()).dtype).removeprefix("torch."),
        "attention": getattr(config, "_attn_implementation", None),
        "modules": [module_name(module) for module in model],
        "head_weights": digest_weights(head) if head else None,
        "transformer_weights": None if weights is None else digest_weights(weights.items()),
    }


def _reads(module: nn.Module) -> bool:
    """Return whether a module is a transformer that reads tokens."""
    return isinstance(module, Transformer | Backbone)


def pooling_name(model: nn.Module) -> str:
    """Return the name of a model's pooling, with `+` between several; `none` where no token is pooled."""
    poolings = [module.pooling_mode for module in model.modules() if isinstance(module, Pooling)]
    modes = {
        "+".join(_OUR_NAMES.get(mode, mode) for mode in ([modes] if isinstance(modes, str) else modes))
        for modes in poolings
    }
    return ", ".join(sorted(modes)) or "none"


def module_name(module: Any) -> str:
    """Return a module's class and settings, such as `LayerNorm {"dimension": 16}`."""
    kind = type(module).__name__
    settings: dict[str, Any] = {}
    if isinstance(module, Transformer):
        settings = {"do_lower_case": module.do_lower_case} if module.do_lower_case else {}
    elif not isinstance(module, Backbone) and hasattr(module, "get_config_dict"):
        settings = module.get_config_dict()
    else:
        return kind
    children = [module_name(child) for route in _routes(module) for child in route]
    settings_text = f" {json.dumps(settings, sort_keys=True, default=str)}" if settings else ""
    return f"{kind}{settings_text}{' of ' + ', '.join(children) if children else ''}"


def digest_weights(weights: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return `sha256:...` over the names, dtypes, shapes and values of weights, in the order given."""
    digest = hashlib.sha256()
    for name, weight in weights:
        values = weight.detach().cpu().contiguous()
        digest.update(f"{len(name)} {name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _routes(module: Any) -> list[Any]:
    """Return the modules of each route of a Router; an empty list for any other module."""
    return list(module.sub_modules.values()) if isinstance(module, Router) else []
