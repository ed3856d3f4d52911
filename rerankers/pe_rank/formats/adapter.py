"""Reads what training leaves: a LoRA adapter with a projector, by the authors' code or by this project.

The adapter is in PEFT's format and is merged into the base model's weights when loaded, so that it costs
nothing afterwards. Only what the merge below computes exactly is accepted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from rerankers.encoders.recipe import read_json
from rerankers.encoders.weights import find_file, read_weights
from rerankers.errors import ModelError
from rerankers.llm.causal import CausalLM
from rerankers.pe_rank.formats.parts import Parts
from rerankers.pe_rank.formats.released import named_encoder
from rerankers.pe_rank.projector import load_projector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerankers.models.devices import AttentionName, DtypeName
    from rerankers.models.locate import ModelFiles

ADAPTER_CONFIG = "adapter_config.json"
_PEFT = "base_model.model."


def read_adapter_run(files: ModelFiles, *, dtype: DtypeName, device: str, attention: AttentionName) -> Parts:
    """Take apart a training run: base model, LoRA adapter, `non_lora_trainables.bin`, `projector.bin`.

    Raises:
        ModelError: a file is missing or does not fit the base model.
    """
    config = read_json(files, ADAPTER_CONFIG)
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ModelError(
            f"{files.name!r}: base_model_name_or_path is {name!r} in {ADAPTER_CONFIG}. Set it to the model "
            "that the adapter was trained on."
        )
    check_kind(config, files.name)
    base = CausalLM(
        name,
        revision=config.get("revision"),
        dtype=dtype,
        device=device,
        attention=attention,
    )
    trained = _read(files, "non_lora_trainables.bin") or {}
    trained = {key.removeprefix(_PEFT): weight for key, weight in trained.items()}
    inside = {key: weight for key, weight in trained.items() if "projector." in key}
    projector = _read(files, "projector.bin") or inside
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
def merge_adapter(llm: Any, files: ModelFiles) -> None:
    """Add a LoRA adapter's product to the weights it belongs to: W + (alpha / r) B A (arXiv 2106.09685).

    Raises:
        ModelError: the adapter is of a kind that this does not compute, or does not fit the model.
    """
    config = read_json(files, ADAPTER_CONFIG)
    check_kind(config, files.name)
    weights = _read(files, "adapter_model.safetensors") or _read(files, "adapter_model.bin")
    if not weights:
        raise ModelError(
            f"{files.name!r} has {ADAPTER_CONFIG} but no adapter_model.safetensors with weights. "
            "Download or train it again."
        )
    modules = dict(llm.named_modules())
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for name, weight in weights.items():
        module, _, side = name.removeprefix(_PEFT).rpartition(".lora_")
        if module not in modules or side not in ("A.weight", "B.weight"):
            raise ModelError(f"the adapter of {files.name!r} has a weight the model lacks: {name!r}")
        if side[0] in pairs.setdefault(module, {}):
            raise ModelError(f"the adapter of {files.name!r} has two weights {side} for {module!r}")
        pairs[module][side[0]] = weight
    for module, pair in pairs.items():
        target = modules[module].weight
        if set(pair) != {"A", "B"} or target.shape != (pair["B"].shape[0], pair["A"].shape[1]):
            raise ModelError(f"the adapter of {files.name!r} does not fit {module!r}")
        rank = pair["A"].shape[0]
        if rank != pair["B"].shape[1] or rank != config.get("r", rank):
            raise ModelError(
                f"the adapter of {files.name!r} has rank {rank} at {module!r}, not {config.get('r')} as "
                f"{ADAPTER_CONFIG} says"
            )
        alpha = config["lora_alpha"]
        scale = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
        product = pair["B"].float().to(target.device) @ pair["A"].float().to(target.device)
        target.copy_(target.float() + scale * product)
    _check_complete(config, modules, pairs, files.name)


def _check_complete(
    config: Mapping[str, Any], modules: Mapping[str, Any], pairs: Mapping[str, Any], name: str
) -> None:
    """Refuse an adapter that lost the weights of a layer: its configuration says where they belong."""
    targets = config.get("target_modules")
    if not isinstance(targets, list) or config.get("layers_to_transform") is not None:
        return  # a pattern, or some of the layers
    lost = sorted(
        module
        for module in modules
        if module not in pairs
        and any(module == target or module.endswith(f".{target}") for target in targets)
    )
    if lost:
        raise ModelError(
            f"the adapter of {name!r} lacks the weights of {len(lost)} modules, first {lost[0]!r}. "
            "Download or train it again."
        )


def check_kind(config: Mapping[str, Any], name: str) -> None:
    """Refuse anything but plain LoRA on linear layers."""
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ModelError(f"{name!r}: lora_alpha is {alpha!r} in {ADAPTER_CONFIG}. Set it to a number.")
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{name!r} is a {config.get('peft_type')} adapter; only LORA can be merged")
    extras = ("use_dora", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias")
    used = [key for key in extras if config.get(key)]
    if config.get("bias", "none") != "none":
        used.append("bias")
    if used:
        raise ModelError(f"the adapter of {name!r} uses {', '.join(used)}; merge it with PEFT first")


@torch.no_grad()
def _replace_weights(llm: Any, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Put trained weights in place of the base model's; a larger vocabulary makes the model's larger."""
    rows = {
        len(weight)
        for key, weight in weights.items()
        if key.endswith(("embed_tokens.weight", "lm_head.weight"))
    }
    if rows and rows != {llm.get_input_embeddings().weight.shape[0]}:
        llm.resize_token_embeddings(max(rows), mean_resizing=False)
    own = llm.state_dict()
    for key, weight in weights.items():
        if key not in own or own[key].shape != weight.shape:
            raise ModelError(f"{name!r} has a trained weight that the base model lacks: {key!r}")
        own[key].copy_(weight)


def _read(files: ModelFiles, name: str) -> dict[str, torch.Tensor] | None:
    path = find_file(files, name)
    return None if path is None else read_weights(path)


def _same(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> bool:
    """Whether two projectors agree, whatever their names' prefixes."""
    short = [{k.rpartition("projector.")[2]: v for k, v in side.items()} for side in (left, right)]
    return short[0].keys() == short[1].keys() and all(torch.equal(short[0][k], short[1][k]) for k in short[0])
