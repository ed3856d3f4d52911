from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerankers.encoders.encoder import Encoder
from rerankers.encoders.jina_bert import alibi_slopes
from rerankers.errors import ModelError

FOLDER = Path(__file__).parents[2] / "golden" / "jina_bert"


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text())
    return content


def rewritten(folder: Path, rename: dict[str, str] | None = None, add: tuple[str, ...] = ()) -> str:
    """Return a copy of the model with other weight names, or more weights."""
    shutil.copytree(FOLDER, folder)
    weights = load_file(folder / "model.safetensors")
    weights = {(rename or {}).get(name, name): weight for name, weight in weights.items()}
    save_file({**weights, **{name: torch.zeros(2) for name in add}}, folder / "model.safetensors")
    return str(folder)


def test_vectors_are_the_reference_implementations(reference: dict[str, Any]) -> None:
    encoder = Encoder(str(FOLDER), dtype="float32", device="cpu", max_length=reference["max_length"])
    vectors = encoder.encode(reference["texts"])
    assert (vectors - torch.tensor(reference["embeddings"])).abs().max() < 1e-5


def test_an_alibi_checkpoint_is_never_loaded_as_a_plain_bert() -> None:
    assert Encoder(str(FOLDER)).describe()["architecture"] == "JinaBert"


def test_half_precision_stays_close(reference: dict[str, Any]) -> None:
    vectors = Encoder(str(FOLDER), dtype="bfloat16", device="cpu").encode(reference["texts"])
    cosine = (vectors * torch.tensor(reference["embeddings"])).sum(dim=1)
    assert cosine.min() > 0.99


def test_the_hubs_prefix_and_unused_heads_are_ignored_by_name(
    tmp_path: Path, reference: dict[str, Any]
) -> None:
    names = load_file(FOLDER / "model.safetensors")
    folder = rewritten(
        tmp_path / "model",
        {name: f"bert.{name}" for name in names},
        ("cls.predictions.bias", "cls.predictions.transform.dense.bias", "cls.seq_relationship.bias"),
    )
    vectors = Encoder(folder, dtype="float32", device="cpu").encode(reference["texts"][:3])
    assert (vectors - torch.tensor(reference["embeddings"][:3])).abs().max() < 1e-5


@pytest.mark.parametrize(
    "name", ["embeddings.position_embeddings.weight", "encoder.layer.0.mlp.extra.weight"]
)
def test_any_other_surplus_is_refused(tmp_path: Path, name: str) -> None:
    folder = rewritten(tmp_path / "model", add=(name,))
    with pytest.raises(ModelError, match="too many"):
        Encoder(folder)


def test_a_missing_weight_is_refused(tmp_path: Path) -> None:
    folder = rewritten(tmp_path / "model", {"encoder.layer.2.mlp.wo.bias": "cls.unused"})
    with pytest.raises(ModelError, match=r"lacks 1 .*encoder\.layer\.2\.mlp\.wo\.bias"):
        Encoder(folder)


def test_another_feed_forward_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "feed_forward_type": "original"}))
    with pytest.raises(ModelError, match="feed_forward_type 'geglu', this one 'original'"):
        Encoder(str(folder))


def test_a_configuration_that_lacks_a_field_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    del config["intermediate_size"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"config\.json lacks intermediate_size"):
        Encoder(str(folder))
    with pytest.raises(ModelError, match="runs with sdpa attention only"):
        Encoder(str(FOLDER), attention="eager")


def test_slopes_of_a_power_of_two_halve_and_others_interleave() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    between = [2.0 ** -(0.5 + i) for i in range(4)]  # every other slope of 16 heads: 2^-0.5, 2^-1.5, ...
    assert torch.allclose(alibi_slopes(12), torch.tensor([2.0**-i for i in range(1, 9)] + between))
