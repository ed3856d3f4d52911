"""Reads weight files by name: safetensors, or `.bin` with `weights_only=True`, whole or in shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from rerankers.models import ModelFiles

_WHOLE_MODEL = ("model.safetensors", "pytorch_model.bin")


def find_file(files: ModelFiles, name: str) -> Path | None:
    """One of a model's files, fetched from the hub if need be; None if it has no such file."""
    from transformers.utils.hub import cached_file

    path = cached_file(
        files.location,
        name,
        revision=files.revision or "main",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if path is None else Path(path)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of one file, on the CPU, mapped into memory.

    Raises:
        ModelError: the file is damaged, or a `.bin` holds something other than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for one cause: a bad file
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{path}: no weights that can be loaded safely: {reason}") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ModelError(f"{path}: holds something other than named tensors")
    return loaded


def read_model_weights(files: ModelFiles) -> dict[str, torch.Tensor]:
    """All tensors of a whole model, from one file or its shards.

    Raises:
        ModelError: the model has no weights, or a shard is missing or damaged.
    """
    for name in _WHOLE_MODEL:
        path = find_file(files, name)
        if path is not None:
            return read_weights(path)
        index = find_file(files, f"{name}.index.json")
        if index is None:
            continue
        weights: dict[str, torch.Tensor] = {}
        for shard in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())):
            path = find_file(files, shard)
            if path is None:
                raise ModelError(f"{files.name!r} lacks its shard {shard}; download it again")
            weights |= read_weights(path)
        return weights
    raise ModelError(f"{files.name!r} has neither {' nor '.join(_WHOLE_MODEL)}, nor shards of them")
