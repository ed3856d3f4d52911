"""A reader of weight files: safetensors, or `.bin` with `weights_only=True`, whole or in shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from rerankers.errors import ModelError, reason_of
from rerankers.files.model_json import unique_keys
from rerankers.models.folder import check_archive
from rerankers.models.model_files import find_file

if TYPE_CHECKING:
    from rerankers.models.locate import ModelFiles

_WHOLE_MODEL = ("model.safetensors", "pytorch_model.bin")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a weight file by name, on the CPU.

    Raises:
        ModelError: the file is damaged, or a `.bin` holds something other than tensors.
    """
    check_archive(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for one cause: a bad file
        raise ModelError(f"{path}: no weights that can be loaded safely: {reason_of(error)}") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ModelError(f"{path}: holds something other than named tensors")
    return loaded


def _shards(index: Path) -> list[str]:
    """Return the names of the files that an index of weights lists, which lie beside it.

    Raises:
        ModelError: it is not an index, or names a file elsewhere.
    """
    try:
        content = json.loads(index.read_bytes(), object_pairs_hook=unique_keys(index))
        names = sorted(set(content["weight_map"].values()))
        strangers = [name for name in names if Path(name).name != name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index}: no index of weights ({error}); download it again") from error
    if strangers:
        raise ModelError(f"{index}: names {strangers[0]!r}, which is not beside it; do not trust this model")
    return names


def read_model_weights(files: ModelFiles) -> dict[str, torch.Tensor]:
    """Return the tensors of a whole model by name, from one file or its shards.

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
        for shard in _shards(index):
            path = find_file(files, shard)
            if path is None:
                raise ModelError(f"{files.name!r} lacks its shard {shard}; download it again")
            weights |= read_weights(path)
        return weights
    raise ModelError(f"{files.name!r} has neither {' nor '.join(_WHOLE_MODEL)}, nor shards of them")
