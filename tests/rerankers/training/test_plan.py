"""A training says what it is about to do, and does not go on when its loss diverges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rerankers.errors import InputError
from rerankers.training import trainer as trainers
from rerankers.training.run import plan, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from rerankers.training.settings import Settings

    Make = Callable[..., Settings]


def test_a_dry_run_tells_the_plan_and_leaves_the_folder_alone(make_settings: Make, tmp_path: Path) -> None:
    optimizer = {"batch_size": 2, "accumulation": 2, "max_steps": 6}
    said: list[str] = []
    plan("rank", make_settings("rank", optimizer=optimizer), tmp_path / "run", said.append, use_cpu=True)
    text = "\n".join(said)
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
    assert f"on 8 held-out lists; chance {chance:.4f}" in text
    assert not (tmp_path / "run").exists()


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
