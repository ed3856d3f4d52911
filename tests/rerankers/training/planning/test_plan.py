"""A training says what it is about to do, and does not go on when its loss diverges."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from rerankers.errors import InputError
from rerankers.training import trainer as trainers
from rerankers.training.planning.memory import expected_memory
from rerankers.training.run import plan, train
from rerankers.training.setups.pe_rank import set_up
from rerankers.training.trainer import training_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers.training.settings import Settings

    Make = Callable[..., Settings]


def test_a_dry_run_tells_the_plan_and_leaves_the_folder_alone(make_settings: Make, tmp_path: Path) -> None:
    optimizer = {"batch_size": 2, "accumulation": 2, "max_steps": 6}
    messages: list[str] = []
    plan("rank", make_settings("rank", optimizer=optimizer), tmp_path / "run", messages.append, use_cpu=True)
    text = "\n".join(messages)
    assert "1 process x accumulation 2 x batch 2 = 4 records a step" in text
    assert "6 steps, 3 epochs of 8 records" in text  # 6 x 4 / 8
    # rank 4, two layers: q and o 64 to 64, k and v 64 to 32, gate, up and down between 64 and 128
    adapter = 2 * 4 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128))
    projector = 32 * 64 + 64 + 64 * 64 + 64  # from the encoder's 32 dimensions
    assert f"{adapter + projector:,} of " in text
    # six passages with gains 10, 9, ..., 5: a random order has 7.5 on every place
    assert "step 0: nDCG@10 0." in text
    discounts = 1 / np.log2(np.arange(2, 8))
    chance = 7.5 * discounts.sum() / (np.arange(10, 4, -1) * discounts).sum()
    assert f"teacher 1.0000, chance {chance:.4f}" in text
    assert "input order 0." in text  # the lists do not tell the first stage's order
    assert "passages: 0 of 48 are cut at 128 tokens" in text
    assert "prompts: 0 of 8 are cut at 4096 tokens" in text
    assert "memory: at least " in text
    assert not (tmp_path / "run").exists()


def test_the_plan_in_the_folder_holds_what_is_cut_and_the_scores_of_step_0(
    make_settings: Make, tmp_path: Path, lists: Path
) -> None:
    draw = random.Random(5)
    records = [json.loads(line) for line in lists.read_text().splitlines()]
    for record in records:
        record["first_stage"] = draw.sample(range(6), 6)
        record["grades"] = [2 if place == record["ranking"][1] else None for place in range(6)]
        record["grades_elsewhere"] = [1]
    records[0]["passages"][2] = "frost " * 40
    lists.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    settings = make_settings("rank", optimizer={"max_steps": 2})
    encoder = settings.encoder.model_copy(update={"max_length": 30})
    train(
        "rank",
        settings.model_copy(update={"encoder": encoder}),
        tmp_path / "run",
        lambda _: None,
        use_cpu=True,
    )
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["truncations"][0] == {
        "kind": "passages",
        "cut": 1,
        "total": 48,
        "max_length": 30,
        "is_estimate": False,
    }
    assert set(plan["references"]) == {"first stage", "teacher", "chance"}
    # the relevant passage has the teacher's second rank, and another one is not in the list
    ideal = 2 + 1 / np.log2(3)
    assert plan["references"]["teacher"]["judged_ndcg@10"] == pytest.approx(2 / np.log2(3) / ideal)
    assert plan["references"]["teacher"]["ndcg@10"] == 1.0
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[0] == {"step": 0, **{f"eval_{name}": value for name, value in plan["model"].items()}}
    assert set(plan["model"]) == {"ndcg@10", "judged_ndcg@10"}
    manifest = json.loads((tmp_path / "run" / "last" / "pe_rank.json").read_text())
    assert manifest["training"]["validation_judged_ndcg@10"] == log[-1]["eval_judged_ndcg@10"]


@pytest.mark.parametrize(
    ("batch", "accumulation", "advice"), [(4, 1, "accumulation: 8"), (24, 2, "batch_size: 16")]
)
def test_another_batch_than_the_recipe_s_is_warned_of(
    make_settings: Make, tmp_path: Path, batch: int, accumulation: int, advice: str
) -> None:
    optimizer = {"batch_size": batch, "accumulation": accumulation, "effective_batch": 32}
    messages: list[str] = []
    plan("rank", make_settings("rank", optimizer=optimizer), tmp_path, messages.append, use_cpu=True)
    warnings = [line for line in messages if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert f"made for 32 records a step, not {batch * accumulation}" in warnings[0]
    assert f"optimizer.{advice}" in warnings[0]
    whole = {"batch_size": batch, "accumulation": 1, "effective_batch": batch}
    messages.clear()
    plan("rank", make_settings("rank", optimizer=whole), tmp_path, messages.append, use_cpu=True)
    assert not any(line.startswith("warning: ") for line in messages)


@pytest.mark.parametrize("kind", ["lora", "merged", "full", "with text", "checkpointed"])
def test_the_memory_expected_is_what_a_whole_batch_keeps(
    make_settings: Make, tmp_path: Path, kind: str
) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "lora": {},
        "merged": {"lora": {"merge_per_step": True}},
        "full": {"tune": "full"},
        "with text": {"loss": {"with_text": True}},
        "checkpointed": {"llm": {"gradient_checkpointing": True}},
    }
    changes = kinds[kind]
    arguments = training_arguments(make_settings("rank"), tmp_path, use_cpu=True)
    batches, kept = [], []
    for size in (2, 16):
        sized = make_settings("rank", optimizer={"batch_size": size}, **changes)
        setup = set_up("rank", sized, tmp_path, lambda _: None, arguments)
        longest = setup.visits.longest()
        batches.append(expected_memory(setup, torch.device("cpu")))
        saved: dict[int, Any] = {}

        def keep(tensor: torch.Tensor, saved: dict[int, Any] = saved) -> torch.Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = setup.model.train()(**setup.collator([(0, longest)] * size))
        kept.append(sum(storage.nbytes() for storage in saved.values()))
        del outputs
    growth = batches[1].activations - batches[0].activations
    if kind == "checkpointed":  # what the layers take in is kept out of the hooks' sight
        growth -= 14 * 2 * 64 * 4 * len(longest.sequence.token_ids)
    assert growth == pytest.approx(kept[1] - kept[0], rel=0.01)
    trained = sum(weight.nbytes for weight in setup.model.parameters() if weight.requires_grad)
    assert (batches[0].gradients, batches[0].optimizer) == (trained, 2 * trained)
    assert batches[0].weights >= sum(weight.nbytes for weight in setup.model.parameters())


@pytest.mark.parametrize(
    ("factor", "message"), [(float("nan"), "its loss is nan"), (9.0, "far above the first")]
)
def test_a_training_that_diverges_ends_with_advice(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, message: str
) -> None:
    compute = trainers.PERankTrainer.compute_loss

    def diverging(self: Any, *arguments: Any, **options: Any) -> torch.Tensor:
        loss: torch.Tensor = compute(self, *arguments, **options)
        return loss * (factor if self.state.global_step >= 2 else 1.0)

    monkeypatch.setattr(trainers.PERankTrainer, "compute_loss", diverging)
    settings = make_settings("rank", optimizer={"max_steps": 12}, data={"validation": None})
    with pytest.raises(InputError, match=rf"{message}.*optimizer\.learning_rate"):
        train("rank", settings, tmp_path / "run", lambda _: None, use_cpu=True)
