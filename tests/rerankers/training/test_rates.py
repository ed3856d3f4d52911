"""The projector's layers learn at rates at which no step throws their outputs far away."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from rerankers.pe_rank.projector import build_projector, untrained_projector
from rerankers.training.planning.rates import limited_rates
from rerankers.training.run import train
from rerankers.training.setups.pe_rank import set_up
from rerankers.training.trainer import PERankTrainer, training_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from rerankers.training.settings import Settings

    Make = Callable[..., Settings]

SMOLLM2 = torch.full((4, 576), 2.87 / 576**0.5)  # as long as its token embeddings


def unit_vectors(count: int, dimension: int) -> npt.NDArray[np.float32]:
    vectors: npt.NDArray[np.float32] = np.random.default_rng(0).normal(size=(count, dimension)).astype("f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.mark.parametrize("kind", ["mlp2x_gelu", "mlp3x_gelu", "linear"])
def test_a_step_of_adam_moves_no_layer_s_output_further_than_the_limit(kind: str) -> None:
    projector = untrained_projector(384, SMOLLM2, kind=kind, scale=0.3)
    vectors = unit_vectors(64, 384)
    rates = limited_rates(projector, vectors, 1e-3, 0.3)
    last = max(name for name, _ in projector.named_children())
    assert f"{last}.weight" in rates
    inputs = torch.from_numpy(vectors)
    for name, layer in projector.named_children():
        outputs = layer(inputs)
        rate = rates.get(f"{name}.weight", 1e-3)
        if isinstance(layer, torch.nn.Linear):
            moved = inputs @ (
                rate * torch.sign(inputs[0])
            )  # every weight moves by the rate, as one row wants
            assert moved.abs().mean() <= 0.3 * outputs.square().mean().sqrt() * 1.01
        inputs = outputs


def test_layers_with_weights_of_the_usual_size_learn_at_the_training_s_rate() -> None:
    torch.manual_seed(0)
    projector: Any = build_projector("mlp2x_gelu", 384, 576)
    projector[2].weight.data.normal_(std=1.0)
    assert limited_rates(projector, unit_vectors(64, 384) * 20, 1e-5, 0.3) == {}
    assert limited_rates(build_projector("identity", 8, 8), unit_vectors(4, 8), 1e-3, 0.3) == {}


def test_the_optimizer_has_the_limited_rates_and_follows_the_schedule(
    make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings("rank")
    arguments = training_arguments(settings, tmp_path, use_cpu=True)
    setup = set_up("rank", settings, tmp_path, lambda _: None, arguments)
    limited = setup.projector_rates
    assert limited
    trainer = PERankTrainer(
        setup.model,
        arguments,
        setup.visits,
        setup.collator,
        None,
        lambda *_: None,
        tmp_path,
        lambda _: None,
        settings,
        limited,
    )
    groups = trainer.create_optimizer().param_groups
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    for name, weight in setup.model.projector.named_parameters():
        assert rates[id(weight)] == pytest.approx(limited.get(name, 3e-3))
    trained = [weight for weight in setup.model.parameters() if weight.requires_grad]
    assert sorted(rates) == sorted(map(id, trained))
    assert sum(len(group["params"]) for group in groups) == len(trained)


def test_a_recipe_made_as_small_as_twelve_steps_does_not_diverge(
    make_settings: Make, tmp_path: Path, lists: Path
) -> None:
    records = [json.loads(line) for line in lists.read_text().splitlines()]
    draw = random.Random(1)
    with lists.open("a") as file:
        for number in range(88):
            record = dict(draw.choice(records), query=f"fox {number}")
            file.write(json.dumps(record) + "\n")
    first, last = {}, {}
    for limit in (None, 0.3):
        settings = make_settings(
            "query",
            data={"validation": None},
            projector={"scale": 0.3, "step_limit": limit},
            loss={"with_text": False, "first_step": {"weight": 1.0}},
            optimizer={"learning_rate": 1e-2, "batch_size": 8, "max_steps": 12},
        )
        folder = tmp_path / str(limit)
        train("query", settings, folder, lambda _: None, use_cpu=True)
        losses = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
        first[limit], last[limit] = losses[0], max(losses[1:])
    assert last[None] > 1.5 * first[None]  # the rate alone is too high for it
    assert last[0.3] < 1.5 * first[0.3]
