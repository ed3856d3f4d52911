"""Loads the transformer behind an embedding model, and refuses weights that do not fit.

transformers loads every architecture it knows; Jina v2, which it does not know, is `jina_bert`. No code from
a model's repository is run.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rerankers.encoders.jina_bert import JinaBert, JinaBertConfig
from rerankers.encoders.recipe import read_json
from rerankers.encoders.weights import read_model_weights
from rerankers.errors import ModelError
from rerankers.loading_report import POOLER, load_complete, refuse_misfits

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from rerankers.devices import AttentionName
    from rerankers.models import ModelFiles


def load_backbone(
    files: ModelFiles,
    dtype: torch.dtype,
    attention: AttentionName,
    weights: Mapping[str, torch.Tensor] | None,
) -> Any:
    """The model in evaluation mode, without gradients; `weights` replace the model's own if given.

    Raises:
        ModelError: the files do not load, or weights are missing or surplus.
    """
    config = read_json(files, "config.json")
    if not config:
        raise ModelError(f"{files.name!r} has no config.json that can be read: not a model, or no network")
    if config.get("position_embedding_type") == "alibi":
        return _jina_bert(files, config, dtype, attention, weights)
    how = {"attn_implementation": attention} if attention != "auto" else {}
    model = _from_files(files, dtype, how) if weights is None else _from_weights(files, dtype, how, weights)
    return model.eval().requires_grad_(False)


def _from_files(files: ModelFiles, dtype: torch.dtype, how: Mapping[str, str]) -> Any:
    from transformers import AutoModel

    load = partial(
        AutoModel.from_pretrained,
        files.location,
        revision=files.revision or "main",
        trust_remote_code=False,
        dtype=dtype,
        **how,
    )
    return load_complete(files.name, load, may_lack=POOLER)


def _from_weights(
    files: ModelFiles, dtype: torch.dtype, how: Mapping[str, str], weights: Mapping[str, torch.Tensor]
) -> Any:
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(
        files.location, revision=files.revision or "main", trust_remote_code=False
    )
    model: Any = AutoModel.from_config(config, trust_remote_code=False, dtype=dtype, **how)  # type: ignore[no-untyped-call]
    _fill(model, weights, files.name)
    return model


def _jina_bert(
    files: ModelFiles,
    stated: Mapping[str, Any],
    dtype: torch.dtype,
    attention: AttentionName,
    weights: Mapping[str, torch.Tensor] | None,
) -> JinaBert:
    if attention not in ("auto", "sdpa"):
        raise ModelError(f"{files.name!r} runs with sdpa attention only: its positions are an attention bias")
    model = JinaBert(JinaBertConfig.of(stated, files.name)).to(dtype)
    found = read_model_weights(files) if weights is None else weights
    _fill(model, {name.removeprefix("bert."): weight for name, weight in found.items()}, files.name)
    return model.eval().requires_grad_(False)


def _fill(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    try:
        misfits = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a shape that does not fit
        raise ModelError(f"the weights of {name!r} do not fit: {' '.join(str(error).split())}") from error
    architecture = type(model).__name__
    refuse_misfits(
        name, misfits.missing_keys, misfits.unexpected_keys, architecture=architecture, may_lack=POOLER
    )
