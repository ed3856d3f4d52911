"""Converts checkpoints of PE-Rank: into the published code's layout, or with an adapter of a lower rank."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from rerankers.errors import InputError
from rerankers.files.writing import replace_file
from rerankers.llm.adapter import ADAPTER_CONFIG
from rerankers.models.locate import find_model
from rerankers.pe_rank.formats.compact import save_compact
from rerankers.pe_rank.formats.manifest import MANIFEST, read_manifest

_ADAPTER_WEIGHTS = "adapter_model.safetensors"


def export_published(checkpoint: Path, folder: Path) -> None:
    """Write a copy of a compact checkpoint with an adapter into `folder`, in the published code's layout.

    The files are the adapter, `config.json`, `non_lora_trainables.bin` and `projector.bin`. The layout has no
    place for the prompt template.

    Raises:
        InputError: the folder holds no compact checkpoint with an adapter.
    """
    if not (checkpoint / ADAPTER_CONFIG).is_file():
        raise InputError(f"{checkpoint} holds no checkpoint with an adapter; name the folder of one")
    manifest = read_manifest(find_model(str(checkpoint)))
    folder.mkdir(parents=True, exist_ok=True)
    for name in (ADAPTER_CONFIG, _ADAPTER_WEIGHTS):
        shutil.copyfile(checkpoint / name, folder / name)
    weights = load_file(checkpoint / "projector.safetensors")
    named = {f"base_model.model.model.projector.{name}": weight for name, weight in weights.items()}
    torch.save(named, folder / "non_lora_trainables.bin")
    torch.save(named, folder / "projector.bin")
    model_config = {
        "projector_type": manifest.projector,
        "encoder_name": manifest.encoder.model,
        "encoder_pooling": manifest.encoder.pooling,
        "embedding_size": manifest.encoder.dimension,
    }
    replace_file(folder / "config.json", json.dumps(model_config, indent=2) + "\n")


@torch.no_grad()
def truncate_adapter(checkpoint: Path, folder: Path, rank: int, dtype: torch.dtype = torch.float16) -> None:
    """Write a copy of a compact checkpoint whose adapter is cut to a lower rank, by SVD of each product B A.

    Args:
        checkpoint: with an adapter.
        folder: of the copy.
        rank: of the adapter in the copy.
        dtype: of the copy's weights.

    Raises:
        InputError: the folder holds no compact checkpoint with an adapter, or its rank is lower already.
    """
    if not (checkpoint / MANIFEST).is_file() or not (checkpoint / ADAPTER_CONFIG).is_file():
        raise InputError(f"{checkpoint} holds no checkpoint with an adapter; name the folder of one")
    if folder.resolve() == checkpoint.resolve():
        raise InputError(f"{folder} is the checkpoint itself; name another folder with --out")
    manifest = read_manifest(find_model(str(checkpoint)))
    config = json.loads((checkpoint / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    if rank > config["r"]:
        raise InputError(f"the adapter in {checkpoint} has rank {config['r']}; it cannot be cut to {rank}")
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    weights = load_file(checkpoint / _ADAPTER_WEIGHTS)
    cut: dict[str, torch.Tensor] = {}
    for name, a in weights.items():
        if not name.endswith("lora_A.weight"):
            continue
        other = name.replace("lora_A.weight", "lora_B.weight")
        low_a, low_b = _truncated(a.float(), weights[other].float() * scale, rank)
        cut[name], cut[other] = low_a.to(dtype).contiguous(), low_b.to(dtype).contiguous()
    cut_config = {**config, "r": rank, "lora_alpha": rank, "use_rslora": False}  # the scale is in the weights
    with tempfile.TemporaryDirectory() as scratch:
        adapter = Path(scratch)
        save_file(cut, adapter / _ADAPTER_WEIGHTS, metadata={"format": "pt"})
        replace_file(adapter / ADAPTER_CONFIG, json.dumps(cut_config, indent=2) + "\n")
        score = manifest.training.get("validation_ndcg@10")  # of the adapter before the cut
        ranks = {"trained": config["r"], "kept": rank, "validation_ndcg@10_as_trained": score}
        training = {**manifest.training, "adapter_rank": ranks, "validation_ndcg@10": None}
        projector = torch.nn.Module()
        for name, weight in load_file(checkpoint / "projector.safetensors").items():
            _register(projector, name, weight)
        save_compact(folder, manifest.model_copy(update={"training": training}), projector, dtype, adapter)


def _truncated(a: torch.Tensor, b: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return factors (rank, in) and (out, rank) whose product best approximates b a, of shape (out, in).

    The large matrix is never formed.
    """
    left, inner_left = torch.linalg.qr(b)
    right, inner_right = torch.linalg.qr(a.T)
    u, values, v = torch.linalg.svd(inner_left @ inner_right.T)
    root = values[:rank].sqrt()
    return root[:, None] * (v[:rank] @ right.T), (left @ u[:, :rank]) * root


def _register(module: torch.nn.Module, name: str, weight: torch.Tensor) -> None:
    """Register a weight as a buffer under its dotted name, so that `state_dict` has it by that name."""
    *parents, leaf = name.split(".")
    for parent in parents:
        if not hasattr(module, parent):
            module.add_module(parent, torch.nn.Module())
        module = getattr(module, parent)
    module.register_buffer(leaf, weight)
