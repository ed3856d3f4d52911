from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from rerankers.encoders.encoder import Encoder
from rerankers.errors import ModelError

TEXTS = ["a glacier moves", "", "bees", "a glacier moves", "the lighthouse " * 300]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: str) -> Encoder:
    return Encoder(tiny_encoder)


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
