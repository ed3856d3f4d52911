"""Weights are read from one file or its shards, and nothing but tensors is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from rerankers.encoders.weights import read_model_weights, read_weights
from rerankers.errors import ModelError
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bin_file_of_something_else_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1), "epoch": 3}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: holds something other than named tensors"):
        read_weights(tmp_path / "pytorch_model.bin")


def test_a_model_without_weights_or_without_one_of_its_shards_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor pytorch_model\.bin, nor shards"):
        read_model_weights(find_model(str(tmp_path)))
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({"a": torch.ones(1)}, tmp_path / "one.safetensors")
    with pytest.raises(ModelError, match=r"lacks its shard two\.safetensors; download it again"):
        read_model_weights(find_model(str(tmp_path)))
    save_file({"b": torch.zeros(1)}, tmp_path / "two.safetensors")
    assert read_model_weights(find_model(str(tmp_path))) == {"a": 1.0, "b": 0.0}
