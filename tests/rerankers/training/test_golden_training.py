"""Losses and gradients of the published code on its tiny random checkpoint, reproduced.

The published code was run in evaluation mode: in training mode its frozen encoder keeps a dropout of 0.1, and
its losses differ from draw to draw. `golden.json` holds both forms of ListMLE: the mean over the steps of a
list, as in the released code, and the sum over them, as in the paper's runs (before commit 812e449).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch

from rerankers.encoders.encoder import Encoder
from rerankers.models.locate import find_model
from rerankers.pe_rank.formats.released import read_released
from rerankers.pe_rank.prompt import PromptTemplate, PromptWriter
from rerankers.training.data.batches import Collator
from rerankers.training.data.examples import ListChoice, RankingExamples
from rerankers.training.data.records import read_ranking
from rerankers.training.data.vectors import TextRows
from rerankers.training.losses import KL_WEIGHT
from rerankers.training.model import Objective, TrainableRanker

if TYPE_CHECKING:
    from pathlib import Path

PARTS = {"list_mle": "loss_without_text", "list_mle_with_text": "loss_with_text", "kl": "kl"}


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:
    return golden / "pe_rank" / "mistral"


@pytest.fixture(scope="module")
def batch(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "golden.json").read_text())["training"]
    return content


@pytest.fixture
def model(folder: Path) -> TrainableRanker:
    parts = read_released(find_model(str(folder)), dtype="float32", device="cpu", attention="eager")
    assert parts.projector is not None
    return TrainableRanker(parts.llm.requires_grad_(True), parts.projector, Objective("released"))


def collated(folder: Path, batch: dict[str, Any], tmp_path: Path, own: bool) -> dict[str, torch.Tensor]:
    """Return the batch as training reads it: from its published form, in its own words or in ours."""
    path = tmp_path / "batch.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in batch["batch"]), encoding="utf-8")
    parts = read_released(find_model(str(folder)), dtype="float32", device="cpu", attention="eager")
    rows = TextRows()
    examples = RankingExamples(
        read_ranking(path),
        PromptWriter(parts.tokenizer, PromptTemplate()),
        rows,
        None,
        ListChoice(None, False),
        with_text=True,
        without_passages=False,
        own_messages=own,
        max_length=4096,
    )
    assert parts.encoder is not None
    encoder = Encoder(
        parts.encoder.model,
        pooling="mean",
        max_length=batch["encoder_max_length"],
        weights=parts.encoder.weights,
        device="cpu",
    )
    vectors = encoder.encode(rows.texts).numpy()
    random = np.random.default_rng(0)
    return Collator(vectors, None, 0, 0)([(n, examples.visit(n, random)) for n in range(2)])


@pytest.mark.parametrize("own", [True, False], ids=["published-messages", "our-template"])
@pytest.mark.parametrize("reduction", ["released", "paper"])
def test_losses_and_gradients_are_the_published_codes(
    folder: Path,
    batch: dict[str, Any],
    model: TrainableRanker,
    tmp_path: Path,
    reduction: Literal["released", "paper"],
    own: bool,
) -> None:
    expected = batch if reduction == "released" else batch["summed_over_steps"]
    model.objective = Objective(reduction)
    outputs = model(**collated(folder, batch, tmp_path, own))
    outputs["loss"].backward()
    assert float(outputs["loss"].detach()) == pytest.approx(expected["total"], rel=1e-5)
    for ours, theirs in PARTS.items():
        assert float(outputs["parts"][ours]) == pytest.approx(expected[theirs], rel=1e-5)
    weights = dict(model.named_parameters())
    assert len(expected["grad_norms"]) == 33
    for name, norm in expected["grad_norms"].items():
        inside = name.removeprefix("model.") if "projector" in name else f"llm.{name}"
        gradient = weights[inside].grad
        assert gradient is not None
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-5), name
    without = [name for name, weight in weights.items() if weight.grad is None or not weight.grad.any()]
    assert without == ["llm.lm_head.weight"]  # the vocabulary's logits take no part


def test_the_prompts_are_the_published_codes(folder: Path, batch: dict[str, Any], tmp_path: Path) -> None:
    inputs = collated(folder, batch, tmp_path, own=True)
    for row, expected in enumerate(batch["prompt_token_ids_without_text"]):
        end = int(inputs["ends"][row]) + 1
        tokens = inputs["token_ids"][row, :end]
        is_text = inputs["sources"][row, :end] < 0
        published = torch.tensor(expected[:end])
        assert torch.equal(tokens[is_text], published[is_text])


def test_the_published_total_weighs_its_parts_as_we_do(batch: dict[str, Any]) -> None:
    for form in (batch, batch["summed_over_steps"]):
        total = form["loss_without_text"] + form["loss_with_text"] + KL_WEIGHT * form["kl"]
        assert total == pytest.approx(form["total"], rel=1e-6)
