"""The gate for weights, in every kind of loader: random weights never score."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerankers import create
from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Weights = dict[str, torch.Tensor]


def with_weights(source: str, folder: Path, change: Callable[[Weights], Weights]) -> str:
    shutil.copytree(source, folder)
    path = next(folder.glob("model.safetensors"))
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return str(folder)


def without(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: weight for name, weight in weights.items() if part not in name}


def plus(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: torch.zeros(3)}


def other_prefix(weights: Weights) -> Weights:
    return {f"wrapped.{name}": weight for name, weight in weights.items()}


def cut(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {n: w[:1].clone() if part in n else w for n, w in weights.items()}


MODELS = {
    "cross-encoder": "tiny_classifier",
    "embedding": "tiny_encoder",
    "query-likelihood": "tiny_llm",
    "mono-t5": "tiny_t5",
    "late-interaction": "tiny_multi_vector",
}


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("cross-encoder", without("classifier."), "lacks 2 weights of its BertForSequenceClassification"),
        ("cross-encoder", without("encoder.layer.1."), "lacks 16 weights.*layer.1.attention"),
        ("cross-encoder", without("pooler."), "lacks 2 weights.*bert.pooler.dense.bias"),
        ("cross-encoder", other_prefix, "lacks .* weights .* and has .* others, first 'wrapped.bert"),
        ("cross-encoder", plus("bert.encoder.layer.2.output.dense.bias"), "1 weights too many.*layer.2"),
        (
            "cross-encoder",
            cut("layer.1.output.dense.bias"),
            "dense.bias' has the shape .1,.* needs",
        ),
        ("embedding", without("encoder.layer.1."), "lacks 16 weights of its BertModel"),
        (
            "embedding",
            plus("stranger.weight"),
            "1 weights too many for its BertModel.*'stranger.weight'",
        ),
        ("query-likelihood", without("layers.1."), "lacks 9 weights of its LlamaForCausalLM"),
        ("query-likelihood", plus("model.stranger"), "1 weights too many.*'model.stranger'"),
        ("query-likelihood", cut("layers.1.mlp.up_proj"), "up_proj.weight' has the shape .* needs"),
        ("mono-t5", without("decoder.block.1."), "lacks .* weights of its T5ForConditionalGeneration"),
        ("mono-t5", plus("stranger"), "1 weights too many for its T5ForConditionalGeneration"),
        ("late-interaction", without("encoder.layer.1."), "lacks 16 weights of its BertModel"),
    ],
)
def test_incomplete_or_surplus_weights_are_refused_by_name(
    kind: str, change: Any, words: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = with_weights(request.getfixturevalue(MODELS[kind]), tmp_path / "model", change)
    with pytest.raises(ModelError, match=words):
        create(kind, {"model": folder})


@pytest.mark.parametrize(
    "leftover",
    [
        "bert.embeddings.position_ids",
        "roberta.pooler.dense.weight",
        "cls.predictions.bias",
        "cls.seq_relationship.weight",
        "lm_head.bias",
        "vocab_transform.weight",
    ],
)
def test_leftovers_of_pretraining_that_hub_checkpoints_carry_still_load(
    leftover: str, tmp_path: Path, tiny_classifier: str
) -> None:
    create("cross-encoder", {"model": with_weights(tiny_classifier, tmp_path / "model", plus(leftover))})


@pytest.mark.parametrize("kind", [*MODELS])
def test_an_adapter_beside_a_model_is_refused_instead_of_loading_its_base(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = with_weights(request.getfixturevalue(MODELS[kind]), tmp_path / "model", dict)
    config = {"peft_type": "LORA", "task_type": None, "base_model_name_or_path": "org/another"}
    (tmp_path / "model" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="holds an adapter"):
        create(kind, {"model": folder})


def test_an_encoder_without_the_pooler_that_it_never_reads_still_loads(
    tmp_path: Path, tiny_encoder: str
) -> None:
    folder = with_weights(tiny_encoder, tmp_path / "model", without("pooler."))
    create("embedding", {"model": folder})


def test_the_gate_leaves_transformers_as_it_was(tmp_path: Path, tiny_classifier: str) -> None:
    from transformers import PreTrainedModel

    before = PreTrainedModel.__dict__["from_pretrained"]
    create("cross-encoder", {"model": tiny_classifier})
    with pytest.raises(ModelError):
        create(
            "cross-encoder",
            {"model": with_weights(tiny_classifier, tmp_path / "model", without("classifier."))},
        )
    assert PreTrainedModel.__dict__["from_pretrained"] is before
