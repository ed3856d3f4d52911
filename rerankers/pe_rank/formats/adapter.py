"""The reader of training output: a LoRA adapter with a projector, by the authors' code or by this project.

The adapter is in PEFT's format and is merged into the base model's weights when loaded, so that it costs
nothing afterwards. Adapters that the merge cannot compute exactly are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rerankers.encoders.recipe import read_json
from rerankers.errors import ModelError
from rerankers.llm.adapter import ADAPTER_CONFIG, check_kind, merge_adapter, read_if_there
from rerankers.llm.adapter_base import base_model_name
from rerankers.llm.causal import CausalLM
from rerankers.pe_rank.formats.parts import Parts
from rerankers.pe_rank.formats.released import named_encoder
from rerankers.pe_rank.projector import load_projector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerankers.models.devices import AttentionName, DtypeName
    from rerankers.models.locate import ModelFiles

_PEFT = "base_model.model."


def read_adapter_run(files: ModelFiles, *, dtype: DtypeName, device: str, attention: AttentionName) -> Parts:
    """Return the parts of a training run: base model, LoRA adapter, `non_lora_trainables.bin`,
    `projector.bin`.

    The adapter is merged into the base model.

    Args:
        files: the location of the training run.
        dtype: of the base model's weights.
        device: the device that it runs on.
        attention: transformers' attention implementation.

    Raises:
        ModelError: a file is missing or does not fit the base model.
    """
    config = read_json(files, ADAPTER_CONFIG)
    name = base_model_name(config, files.name)
    check_kind(config, files.name)
    base = CausalLM(
        name,
        revision=config.get("revision"),
        dtype=dtype,
        device=device,
        attention=attention,
    )
    trained = read_if_there(files, "non_lora_trainables.bin") or {}
    trained = {key.removeprefix(_PEFT): weight for key, weight in trained.items()}
    inside = {key: weight for key, weight in trained.items() if "projector." in key}
    projector = read_if_there(files, "projector.bin") or inside
    if not projector:
        raise ModelError(f"{files.name!r} has an adapter but neither projector.bin nor one in its trainables")
    if inside and not _same(inside, projector):
        raise ModelError(f"{files.name!r} holds two projectors that differ; remove the stale projector.bin")
    prefix = "model.encoder.encoder."
    encoder = {k.removeprefix(prefix): v for k, v in trained.items() if k.startswith(prefix)}
    rest = {k: v for k, v in trained.items() if "projector." not in k and not k.startswith(prefix)}
    _replace_weights(base.model, rest, files.name)
    merge_adapter(base.model, files)
    stated = read_json(files, "config.json")
    return Parts(
        llm=base.model,
        tokenizer=base.tokenizer,
        projector=load_projector(stated.get("projector_type", "mlp2x_gelu"), projector, files.name),
        encoder=named_encoder(files, stated, encoder or None),
        described={
            "model": files.name,
            "revision": files.revision or files.fingerprint,
            "format": "lora",
            "base": base.describe(),
        },
    )


@torch.no_grad()
def _replace_weights(llm: Any, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Copy trained weights over those of the base model; a larger vocabulary enlarges the model's.

    Args:
        llm: the base model; changed in place.
        weights: by the model's names.
        name: the training run's name, for errors.

    Raises:
        ModelError: the base model lacks a weight, or has it in another shape.
    """
    rows = {
        len(weight)
        for key, weight in weights.items()
        if key.endswith(("embed_tokens.weight", "lm_head.weight"))
    }
    if rows and rows != {llm.get_input_embeddings().weight.shape[0]}:
        llm.resize_token_embeddings(max(rows), mean_resizing=False)
    llm_weights = llm.state_dict()
    for key, weight in weights.items():
        if key not in llm_weights or llm_weights[key].shape != weight.shape:
            raise ModelError(f"{name!r} has a trained weight that the base model lacks: {key!r}")
        llm_weights[key].copy_(weight)


def _same(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> bool:
    """Return whether the weights of two projectors are equal, their names compared without prefixes."""
    short = [{k.rpartition("projector.")[2]: v for k, v in side.items()} for side in (left, right)]
    return short[0].keys() == short[1].keys() and all(torch.equal(short[0][k], short[1][k]) for k in short[0])
