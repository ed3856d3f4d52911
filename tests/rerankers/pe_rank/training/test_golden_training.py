"""Losses and gradients of the published code on its tiny random checkpoint, reproduced.

`training.json` holds what the published loss, encoder and divergence give on the batch of `golden.json` with
the encoder in evaluation mode, which is what a frozen encoder is here. The numbers in `golden.json` itself
are not those, and are not met here: the published code run on the same batch gives a KL of 1.29 in evaluation
mode and not 2.42. They lie where training mode would put them, which leaves the encoder's dropout of 0.1 on,
anew in both passes and for each copy of a passage (KL 1.1 to 5.4 over 40 seeds, median 2.8; gradients of the
projector alike). If so they are one random draw. Its seed is none of 0 to 3,999 with torch's own draws, none
of 0 to 4,999 with MKL's, and not what follows from seed 1, which made the checkpoint; nor do 28,080 other
ways of pooling, padding, masking and averaging give them without dropout. Only their sum is checked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rerankers.encoders.encoder import Encoder
from rerankers.models import find_model
from rerankers.pe_rank.prompt import PromptTemplate, PromptWriter
from rerankers.pe_rank.released import read_released
from rerankers.pe_rank.training.batches import Collator
from rerankers.pe_rank.training.examples import ListChoice, RankingExamples
from rerankers.pe_rank.training.losses import KL_WEIGHT
from rerankers.pe_rank.training.model import Objective, TrainableRanker
from rerankers.pe_rank.training.records import read_ranking
from rerankers.pe_rank.training.vectors import TextRows

if TYPE_CHECKING:
    from pathlib import Path

    import torch

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
    """The batch as training reads it: from its published form, in its own words or in ours."""
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
def test_losses_and_gradients_are_the_published_codes(
    folder: Path, batch: dict[str, Any], model: TrainableRanker, tmp_path: Path, own: bool
) -> None:
    expected = json.loads((folder / "training.json").read_text())
    outputs = model(**collated(folder, batch, tmp_path, own))
    outputs["loss"].backward()
    assert float(outputs["loss"].detach()) == pytest.approx(expected["total"], rel=1e-4)
    for ours, theirs in PARTS.items():
        assert float(outputs["parts"][ours]) == pytest.approx(expected[theirs], rel=1e-4)
    weights = dict(model.named_parameters())
    for name, norm in expected["grad_norms"].items():
        inside = name.removeprefix("model.") if "projector" in name else f"llm.{name}"
        gradient = weights[inside].grad
        assert gradient is not None
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-4)


def test_the_published_total_weighs_its_parts_as_we_do(batch: dict[str, Any]) -> None:
    total = batch["loss_without_text"] + batch["loss_with_text"] + KL_WEIGHT * batch["kl"]
    assert total == pytest.approx(batch["total"], rel=1e-6)


def test_the_papers_reduction_sums_where_the_released_one_averages(
    folder: Path, batch: dict[str, Any], model: TrainableRanker, tmp_path: Path
) -> None:
    inputs = collated(folder, batch, tmp_path, own=True)
    released = model(**inputs)["parts"]
    model.objective = Objective("paper")
    paper = model(**inputs)["parts"]
    assert float(paper["list_mle"]) == pytest.approx(5 * float(released["list_mle"]), rel=1e-5)  # 5 passages
    assert float(paper["kl"]) == pytest.approx(float(released["kl"]), rel=1e-6)
