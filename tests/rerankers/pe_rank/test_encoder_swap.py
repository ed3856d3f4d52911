"""Another encoder than the one of the training is refused, or labelled where it is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerankers.errors import ModelError
from rerankers.models.locate import find_model
from rerankers.pe_rank.formats.compact import save_compact
from tests.rerankers.pe_rank.checkpoint_files import FOLDER, load, manifest


@pytest.fixture(scope="module")
def other_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another encoder of the same dimension."""
    folder = tmp_path_factory.mktemp("other") / "encoder"
    shutil.copytree(FOLDER / "encoder", folder)
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] += 0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_another_encoder_is_refused_or_labelled(other_encoder: Path) -> None:
    with pytest.raises(ModelError, match=r"the projector was trained with .* set allow_encoder_swap"):
        load(FOLDER, encoder=str(other_encoder))
    swapped = load(FOLDER, encoder=str(other_encoder), pooling="mean", allow_encoder_swap=True)
    assert swapped.notice.startswith("encoder swapped: the projector was trained with")
    assert swapped.encoder.describe()["model"] == str(other_encoder)


def test_another_pooling_is_refused_or_labelled() -> None:
    with pytest.raises(ModelError, match="mean pooling, not cls"):
        load(FOLDER, pooling="cls")
    swapped = load(FOLDER, pooling="cls", allow_encoder_swap=True)
    assert "mean pooling, not cls" in swapped.notice
    assert swapped.encoder.pooling == "cls"


def test_the_encoder_by_its_own_name_is_no_swap() -> None:
    assert load(FOLDER, encoder=str(FOLDER / "encoder"), pooling="mean").notice == ""
    assert load(FOLDER, encoder=str(FOLDER / ".." / FOLDER.name / "encoder")).notice == ""


def test_another_dimension_is_refused_whatever_is_allowed(golden: Path) -> None:
    with pytest.raises(ModelError, match=r"takes 32 dimensions but .* has 48"):
        load(FOLDER, encoder=str(golden / "jina_bert"), allow_encoder_swap=True)


def test_the_same_encoder_elsewhere_is_recognised_by_its_content(
    base: Path, other_encoder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(FOLDER / "encoder", tmp_path / "copy"))
    print_of_it = find_model(str(copy)).fingerprint
    projector = load(FOLDER).llm.projector
    save_compact(tmp_path / "model", manifest(base, fingerprint=print_of_it), projector, torch.float32)
    assert load(tmp_path / "model", encoder=str(copy)).notice == ""
    with pytest.raises(ModelError, match="trained with"):
        load(tmp_path / "model", encoder=str(other_encoder))
    (copy / "vocab.txt").touch()
    elsewhere = manifest(base, model=str(other_encoder), fingerprint=print_of_it)
    save_compact(tmp_path / "stale", elsewhere, projector, torch.float32)
    with pytest.raises(ModelError, match="other weights of"):
        load(tmp_path / "stale")
