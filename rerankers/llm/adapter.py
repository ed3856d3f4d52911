"""LoRA adapters of causal language models, in PEFT's format: checked, and merged into the base model.

A merged adapter costs nothing afterwards. Adapters that the merge below cannot compute exactly are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from rerankers.encoders.recipe import read_json
from rerankers.encoders.weights import read_weights
from rerankers.errors import ModelError
from rerankers.llm.adapter_base import base_model_name
from rerankers.models.loading_report import ADAPTER_CONFIG as ADAPTER_CONFIG  # many look for it here
from rerankers.models.loading_report import WHOLE_MODELS, refuse_adapter
from rerankers.models.locate import ModelFiles, find_model
from rerankers.models.model_files import find_file

if TYPE_CHECKING:
    from collections.abc import Mapping

_PEFT = "base_model.model."
_PE_RANK = ("pe_rank.json", "projector.bin", "non_lora_trainables.bin")


@dataclass(frozen=True, slots=True)
class LLMAdapter:
    """A LoRA adapter of a causal language model, and the base model that it belongs to.

    Attributes:
        files: the location of the adapter.
        base: the location of its base model.
    """

    files: ModelFiles
    base: ModelFiles

    def files_of_tokenizer(self) -> ModelFiles:
        """Return the location of the tokenizer: the adapter's files if they have one, else the
        base model's.
        """
        has_one = find_file(self.files, "tokenizer_config.json") is not None
        return self.files if has_one else self.base

    def version(self) -> str | None:
        """Return the adapter's fingerprint, or its commit on the hub."""
        config = find_file(self.files, ADAPTER_CONFIG)
        return self.files.fingerprint or (config.parent.name if config is not None else None)


def find_adapter(files: ModelFiles) -> LLMAdapter | None:
    """Return the adapter that a model's files hold, with its base model; None where they hold none.

    Raises:
        InputError: no such base model.
        ModelError: the adapter is of another kind or belongs to PE-Rank, names no base model or another
            adapter, or lies beside a whole model.
    """
    config = read_json(files, ADAPTER_CONFIG)
    if not config:
        return None
    if any(find_file(files, name) for name in WHOLE_MODELS):
        refuse_adapter(files)
    if any(find_file(files, name) for name in _PE_RANK):
        raise ModelError(
            f"{files.name!r} is a checkpoint of PE-Rank, whose adapter reads embeddings. "
            "Use --reranker pe-rank."
        )
    if config.get("task_type") not in ("CAUSAL_LM", None):
        raise ModelError(
            f"{files.name!r} is an adapter for {config['task_type']}; a language model takes one for "
            "CAUSAL_LM."
        )
    check_kind(config, files.name)
    base = find_model(base_model_name(config, files.name), config.get("revision"))
    refuse_adapter(base)
    return LLMAdapter(files, base)


@torch.no_grad()
def merge_adapter(llm: Any, files: ModelFiles) -> None:
    """Add a LoRA adapter's product to a model's weights: W + (alpha / r) B A (arXiv 2106.09685).

    Args:
        llm: the base model; changed in place.
        files: the location of the adapter.

    Raises:
        ModelError: the adapter is of a kind that this does not compute, or does not fit the model.
    """
    config = read_json(files, ADAPTER_CONFIG)
    check_kind(config, files.name)
    weights = read_if_there(files, "adapter_model.safetensors") or read_if_there(files, "adapter_model.bin")
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
    """Refuse an adapter that lacks the weights of a module that its configuration lists.

    Args:
        config: the content of `adapter_config.json`.
        modules: the model's modules by name.
        pairs: the adapter's weights by module name.
        name: the adapter's name, for errors.

    Raises:
        ModelError: weights are missing.
    """
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
    """Refuse an adapter that is anything but plain LoRA on linear layers.

    Args:
        config: the content of `adapter_config.json`.
        name: the adapter's name, for errors.

    Raises:
        ModelError: the adapter is of another kind, or its `lora_alpha` is not a number.
    """
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


def read_if_there(files: ModelFiles, name: str) -> dict[str, torch.Tensor] | None:
    """Return the tensors of one of a model's files by name; None where it has no such file."""
    path = find_file(files, name)
    return None if path is None else read_weights(path)
