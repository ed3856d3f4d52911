"""A language model's files fit its architecture to the last weight, or they are refused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerankers.errors import ModelError
from rerankers.llm.causal import CausalLM

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("missing", r"lacks 1 .*'model\.layers\.1"), ("unexpected", r"1 weights too many.*'model\.projector")],
)
def test_a_weight_too_few_or_too_many_is_an_error(
    tiny_llm: str, tmp_path: Path, kind: str, reason: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_llm, folder)
    weights = load_file(folder / "model.safetensors")
    if kind == "missing":
        del weights["model.layers.1.mlp.up_proj.weight"]
    else:
        weights["model.projector.0.weight"] = torch.zeros(2, 2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=reason):
        CausalLM(str(folder), dtype="float32", device="cpu")
