"""Losses against their formulas, written out list by list."""

from __future__ import annotations

import math

import pytest
import torch

from rerankers.training import losses

LENGTHS = torch.tensor([4, 2])


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 8, generator=random), torch.randn(2, 4, 8, generator=random)


def written_out(hidden: torch.Tensor, passages: torch.Tensor) -> list[list[list[float]]]:
    """p_t(j) for j >= t of each list, from the definition."""
    log_probabilities: list[list[list[float]]] = []
    for row, length in enumerate(LENGTHS.tolist()):
        steps = []
        for t in range(length):
            scores = [math.exp(float(hidden[row, t] @ passages[row, j])) for j in range(t, length)]
            steps.append([score / sum(scores) for score in scores])
        log_probabilities.append(steps)
    return log_probabilities


@pytest.mark.parametrize("discount", [False, True])
@pytest.mark.parametrize("reduction", ["paper", "released"])
def test_list_mle_is_the_cross_entropy_over_passages_not_yet_placed(
    tensors: tuple[torch.Tensor, torch.Tensor], reduction: losses.Reduction, discount: bool
) -> None:
    expected = []
    for steps in written_out(*tensors):
        weights = [1 / math.log2(t + 2) if discount else 1.0 for t in range(len(steps))]
        summed = sum(-math.log(step[0]) * weight for step, weight in zip(steps, weights, strict=True))
        expected.append(summed if reduction == "paper" else summed / sum(weights))
    loss = losses.list_mle(
        losses.step_log_probabilities(*tensors, LENGTHS), LENGTHS, reduction, discount=discount
    )
    assert float(loss) == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_divergence_is_summed_over_steps(tensors: tuple[torch.Tensor, torch.Tensor]) -> None:
    hidden, passages = tensors
    with_text, without = written_out(hidden.flip(2), passages), written_out(hidden, passages)
    expected = sum(
        q * math.log(q / p)
        for steps_q, steps_p in zip(with_text, without, strict=True)
        for step_q, step_p in zip(steps_q, steps_p, strict=True)
        for q, p in zip(step_q, step_p, strict=True)
    )
    divergence = losses.context_divergence(
        losses.step_log_probabilities(hidden.flip(2), passages, LENGTHS),
        losses.step_log_probabilities(hidden, passages, LENGTHS),
    )
    assert float(divergence) == pytest.approx(expected / 2, rel=1e-4)


def test_padding_changes_neither_loss_nor_gradient(tensors: tuple[torch.Tensor, torch.Tensor]) -> None:
    hidden, passages = tensors
    outcomes: list[tuple[float, torch.Tensor]] = []
    for padding in (0.0, 1e4):
        padded = hidden.clone()
        padded[1, 2:] = padding
        others = passages.clone()
        others[1, 2:] = padding
        padded.requires_grad_()
        log_probabilities = losses.step_log_probabilities(padded, others, LENGTHS)
        loss = losses.list_mle(log_probabilities, LENGTHS, "paper")
        total = loss + losses.context_divergence(log_probabilities, log_probabilities.detach() * 0.5)
        (gradient,) = torch.autograd.grad(total, padded)
        outcomes.append((float(loss.detach()), gradient))
    assert outcomes[0][0] == outcomes[1][0]
    assert torch.equal(outcomes[0][1], outcomes[1][1])
    assert torch.isfinite(outcomes[0][1]).all()


def test_a_model_that_scores_like_its_encoder_has_no_first_step_loss() -> None:
    passages = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    hidden = torch.randn(2, 3, generator=torch.Generator().manual_seed(2))
    similarities = hidden @ passages.T * 0.05
    alike = losses.first_step_distillation(hidden, passages, similarities, temperature=0.05)
    other = losses.first_step_distillation(hidden, passages, -similarities, temperature=0.05)
    assert float(alike) == pytest.approx(0.0, abs=1e-5)
    assert float(other) > 0.1


def test_autocast_rounds_no_score(tensors: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = losses.step_log_probabilities(*tensors, LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(losses.step_log_probabilities(*tensors, LENGTHS), expected)
        assert (tensors[0] @ tensors[1].transpose(1, 2)).dtype == torch.bfloat16  # others it rounds
