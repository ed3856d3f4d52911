"""Losses of PE-Rank's training, whole batches at once (arXiv 2406.14848, section 3.4).

Let h_t be the hidden state after the prompt and the first t gold passages (teacher forcing), e_j the
projected embedding of the passage on gold place j, both counted from 0, and n the length of the list. At
step t the model chooses among the passages not yet placed:

    p_t(j) = exp(h_t . e_j) / sum over k >= t of exp(h_t . e_k)        for j >= t

    ListMLE            L = - sum over t of log p_t(t)                  (Xia et al., ICML 2008, for this model)
    contextual         the same on the prompt that also holds the passages' text: q_t in place of p_t
    KL                 sum over t of KL(q_t || p_t)
    total              L_without + L_with + 0.2 KL

Two reductions over the steps of a list, then the mean over the batch:

    paper       sums ListMLE over steps, and KL too: the paper's runs
    released    takes the mean of ListMLE over steps but sums KL: the published code since a late commit
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

Reduction = Literal["paper", "released"]

KL_WEIGHT = 0.2  # section 3.4


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return `left @ right` computed in float32, also under autocast: bfloat16 would tie close scores."""
    with torch.autocast(left.device.type, enabled=False):
        return left.float() @ right.float()


def step_log_probabilities(
    hidden: torch.Tensor, passages: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return the log-probability of each passage at each step, among the passages not placed yet.

    Args:
        hidden: h_t, (batch, n, dimension).
        passages: e_j in gold order, (batch, n, dimension).
        lengths: passages of each list, (batch,); rows are padded behind them.

    Returns:
        (batch, n, n) float32: log p_t(j) in row t, column j; 0 where passage j is placed already or padding.
    """
    scores = product(hidden, passages.transpose(1, 2))
    count = scores.shape[1]
    place = torch.arange(count, device=scores.device)
    is_open = (place[None, :] >= place[:, None])[None] & (place < lengths[:, None])[:, None]
    closed = ~is_open
    shut_out = scores.masked_fill(
        closed, torch.finfo(scores.dtype).min / 2
    )  # finite: padded rows stay numbers
    return F.log_softmax(shut_out, dim=2).masked_fill(closed, 0.0)


def list_mle(
    log_probabilities: torch.Tensor, lengths: torch.Tensor, reduction: Reduction, *, discount: bool = False
) -> torch.Tensor:
    """Return the ListMLE loss, a scalar: the mean over the batch.

    Args:
        log_probabilities: of `step_log_probabilities`, (batch, n, n).
        lengths: passages of each list, (batch,).
        reduction: over the steps of a list.
        discount: weight step t by 1 / log2(t + 2), as nDCG discounts ranks: early ranks count more.
    """
    losses = -log_probabilities.diagonal(dim1=1, dim2=2)  # (batch, n); 0 at padding
    place = torch.arange(losses.shape[1], device=losses.device)
    weights = 1 / torch.log2(place + 2.0) if discount else torch.ones_like(place, dtype=losses.dtype)
    summed = (losses * weights).sum(dim=1)
    if reduction == "paper":
        return summed.mean()
    return (summed / ((place < lengths[:, None]) * weights).sum(dim=1)).mean()


def context_divergence(with_text: torch.Tensor, without_text: torch.Tensor) -> torch.Tensor:
    """Return KL(q_t || p_t), summed over the steps of a list, the mean over the batch: a scalar.

    Gradients flow into both, as in the published code.

    Args:
        with_text: q_t, from `step_log_probabilities` of the prompt with text, (batch, n, n).
        without_text: p_t, the same of the prompt without text.
    """
    divergence = with_text.exp() * (with_text - without_text)  # 0 where both are 0, placed or padding
    return divergence.sum(dim=(1, 2)).mean()


def first_step_distillation(
    hidden: torch.Tensor, passages: torch.Tensor, similarities: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the KL divergence of the model's choice of the first passage from the encoder's, a scalar.

    The teacher is softmax(similarities / temperature), the student softmax(h_0 . e_j), over the same
    passages. This loss is not the paper's.

    Args:
        hidden: h_0, (batch, dimension).
        passages: projected, (m, dimension): the same for every row.
        similarities: of query and passage under the encoder, (batch, m).
        temperature: of the teacher.

    Returns:
        KL(teacher || student), the mean over the batch.
    """
    student = F.log_softmax(product(hidden, passages.T), dim=1)
    teacher = F.log_softmax(similarities.float() / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
