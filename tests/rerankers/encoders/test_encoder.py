from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rerankers.encoders.encoder import Encoder
from rerankers.encoders.recipe import Recipe, find_recipe, presets
from rerankers.errors import ModelError
from rerankers.models import ModelFiles

TEXTS = ["a glacier moves", "", "bees", "a glacier moves", "the lighthouse " * 300]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: str) -> Encoder:
    return Encoder(tiny_encoder)


def copy_with(source: str, folder: Path, name: str, content: object) -> str:
    """A copy of a model folder with one JSON file written into it."""
    shutil.copytree(source, folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return str(folder)


def test_every_row_has_length_one(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (5, encoder.dimension)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(5))


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_equal_texts_get_equal_rows_to_the_last_bit(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert torch.equal(vectors[0], vectors[3])


def test_batching_and_padding_change_nothing(tiny_encoder: str, encoder: Encoder) -> None:
    one_by_one = Encoder(tiny_encoder, batch_tokens=1)
    assert torch.allclose(encoder.encode(TEXTS), one_by_one.encode(TEXTS), atol=1e-6)


def test_cut_texts_are_counted(encoder: Encoder) -> None:
    assert len(encoder.encode_and_cut(TEXTS)[1]) == 1


def test_the_mean_leaves_out_padding_and_the_first_token_is_cls(tiny_encoder: str) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    hidden = AutoModel.from_pretrained(tiny_encoder)(**tokenizer("bees", return_tensors="pt"))[0][0]
    poolings: dict[str, torch.Tensor] = {"mean": hidden.mean(0), "cls": hidden[0], "last_token": hidden[-1]}
    for pooling, vector in poolings.items():
        encoder = Encoder(tiny_encoder, pooling=pooling)  # type: ignore[arg-type]
        unit = vector / vector.norm()
        assert torch.allclose(encoder.encode(["the lighthouse", "bees"])[1], unit, atol=1e-6)


def test_a_prefix_goes_before_queries_only_where_it_is_meant_to(tiny_encoder: str) -> None:
    encoder = Encoder(tiny_encoder, query_prefix="query: ", passage_prefix="")
    prefixed = encoder.encode(["query: bees"])
    assert torch.allclose(encoder.encode(["bees"], kind="query"), prefixed, atol=1e-6)
    assert not torch.allclose(encoder.encode(["bees"], kind="passage"), prefixed, atol=1e-3)


@pytest.mark.parametrize(
    "config",
    [{"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"pooling_mode": "cls"}],
    ids=["one flag a mode", "one name"],
)
def test_the_folder_says_how_to_pool(tiny_encoder: str, tmp_path: Path, config: dict[str, object]) -> None:
    folder = copy_with(tiny_encoder, tmp_path / "model", "1_Pooling/config.json", config)
    assert Encoder(folder).pooling == "cls"


def test_a_pooling_nothing_computes_is_refused(tiny_encoder: str, tmp_path: Path) -> None:
    config = {"pooling_mode_max_tokens": True}
    folder = copy_with(tiny_encoder, tmp_path / "model", "1_Pooling/config.json", config)
    with pytest.raises(ModelError, match="pooling_mode_max_tokens"):
        Encoder(folder)


def test_surplus_weights_are_refused(tiny_encoder: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "encoder.layer.7.output.dense.bias": torch.zeros(32)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"too many for its BertModel, first 'encoder\.layer\.7"):
        Encoder(str(folder))


def test_missing_weights_are_refused(tiny_encoder: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"lacks 1 .*'encoder\.layer\.1"):
        Encoder(str(folder))


def test_every_preset_is_a_recipe_with_its_source() -> None:
    for name, preset in presets().items():
        assert preset["source"] == f"https://huggingface.co/{name}"
        assert isinstance(find_recipe(ModelFiles(name, name)), Recipe)


def test_bge_queries_take_the_instruction_and_passages_do_not() -> None:
    recipe = find_recipe(ModelFiles("BAAI/bge-base-en-v1.5", "BAAI/bge-base-en-v1.5"))
    assert recipe.pooling == "cls"
    assert recipe.query_prefix == "Represent this sentence for searching relevant passages: "
    assert recipe.passage_prefix == ""
