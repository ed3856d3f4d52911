"""What a training is about to do, in lines for people, before its first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.training.trainer import same_random_numbers

if TYPE_CHECKING:
    import torch

    from rerankers.training.data.batches import Visits
    from rerankers.training.settings import OptimizerSettings
    from rerankers.training.setup import HeldOut


def plan_lines(
    optimizer: OptimizerSettings, visits: Visits, model: torch.nn.Module, processes: int
) -> list[str]:
    """Return the effective batch, steps, epochs of data and trainable parameters."""
    weights = list(model.parameters())
    trainable = sum(weight.numel() for weight in weights if weight.requires_grad)
    steps = len(visits) // visits.step_size
    return [
        f"{processes} process{'es' if processes > 1 else ''} x accumulation {optimizer.accumulation} x batch "
        f"{optimizer.batch_size} = {visits.step_size} records a step",
        f"{steps} steps, {len(visits) / visits.epoch_size:.3g} epochs of {visits.epoch_size} records",
        f"{trainable:,} of {sum(weight.numel() for weight in weights):,} parameters are trained",
    ]


def first_score(validation: HeldOut, model: torch.nn.Module) -> float:
    """Return the mean nDCG@10 of the model as it is before the first step."""
    with same_random_numbers():
        return float(validation.scores(model).mean())


def score_line(validation: HeldOut, score: float) -> str:
    """Return the score before the first step beside that of a random order."""
    return (
        f"step 0: nDCG@10 {score:.4f} on {len(validation)} held-out lists; chance {validation.chance():.4f}"
    )
