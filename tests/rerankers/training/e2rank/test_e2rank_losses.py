"""E2Rank's losses against the published training class's values and gradients on two lists."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rerankers.llm.hidden import HiddenLM
from rerankers.training.e2rank.losses import info_nce, rank_net
from rerankers.training.e2rank.model import Objective, TrainableE2Rank
from rerankers.training.e2rank.texts import Lengths, TrainingTexts

FOLDER = Path(__file__).parents[3] / "golden" / "e2rank"
TRAINING: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))["training"]
RANKINGS = (
    torch.tensor([record["ranking"] for record in TRAINING["batch"]]) - 1
)  # published ones count from 1


@pytest.fixture
def llm() -> HiddenLM:
    return HiddenLM(str(FOLDER))


@pytest.fixture
def texts(llm: HiddenLM) -> TrainingTexts:
    return TrainingTexts(llm.tokenizer, str(FOLDER), Lengths())


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids padded on the right, and the columns of the last tokens."""
    width = max(map(len, rows))
    return (
        torch.tensor([row + [0] * (width - len(row)) for row in rows]),
        torch.tensor([len(row) - 1 for row in rows]),
    )


def test_training_texts_are_the_published_ones(texts: TrainingTexts) -> None:
    for record, query, prompt in zip(
        TRAINING["batch"], TRAINING["query_token_ids"], TRAINING["pseudo_query_token_ids"], strict=True
    ):
        assert texts.query(record["source"], record["query"]) == query
        assert texts.prompt(record["source"], record["query"], record["document"]) == prompt


def test_losses_and_gradients_are_the_published_classs(llm: HiddenLM, texts: TrainingTexts) -> None:
    model = TrainableE2Rank(llm.decoder.requires_grad_(True), Objective())
    passages = [texts.passage(text) for record in TRAINING["batch"] for text in record["document"]]
    outputs = model(
        *padded(TRAINING["query_token_ids"]),
        *padded(passages),
        *padded(TRAINING["pseudo_query_token_ids"]),
        RANKINGS,
    )
    assert float(outputs["parts"]["info_nce"]) == pytest.approx(TRAINING["loss_embedding"], rel=1e-5)
    assert 2 * float(outputs["parts"]["rank_net"]) == pytest.approx(TRAINING["loss_ranknet"], rel=1e-5)
    assert float(outputs["loss"].detach()) == pytest.approx(TRAINING["total"], rel=1e-5)
    outputs["loss"].backward()
    norms = {name: float(weight.grad.norm()) for name, weight in llm.decoder.named_parameters()}
    assert norms.keys() == TRAINING["grad_norms"].keys()
    assert norms == pytest.approx(TRAINING["grad_norms"], rel=1e-4)


def test_rank_net_is_the_mean_over_pairs_in_the_right_order() -> None:
    prompt, passages = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.1, 0.0], [0.3, 0.0], [0.2, 0.0]]])
    loss = rank_net(prompt, passages, torch.tensor([[1, 0, 2]]), scale=10.0)  # scores 1, 3 and 2
    pairs = [3 - 1, 3 - 2, 1 - 2]
    assert float(loss) == pytest.approx(sum(math.log(1 + math.exp(-gap)) for gap in pairs) / 3)


def test_info_nce_chooses_the_best_passage_among_those_of_the_whole_batch() -> None:
    queries = torch.eye(2)
    passages = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    loss = info_nce(queries, passages, torch.tensor([[1, 0], [0, 1]]), temperature=1.0)
    assert float(loss) == pytest.approx(math.log(2 * math.e + 2) - 1)  # two of four passages fit each query
