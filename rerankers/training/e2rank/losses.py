"""Losses of E2Rank's training (arXiv 2510.22733, section 3.3), with the published code's constants.

Let q be a query's vector, e_d a passage's, p the vector of the listwise prompt that shows all passages of the
query, all of length one, and n the passages of a list.

    InfoNCE     the cross-entropy of the best passage of each list among the passages of the whole batch, by
                the logits q . e_d / temperature
    RankNet     the mean of log(1 + exp(s_j - s_i)) over all pairs in which passage i is ranked above passage
                j, with s = scale * (p . e_d): every list of the batch against its own passages
    total       InfoNCE + weight * RankNet

The published class sets scale 5 and weight 1, and the published training script scale 10 and weight 2, which
are the defaults here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

TEMPERATURE, SCALE, RANKNET_WEIGHT = 0.03, 10.0, 2.0


def info_nce(
    queries: torch.Tensor, passages: torch.Tensor, ranking: torch.Tensor, temperature: float = TEMPERATURE
) -> torch.Tensor:
    """Return the InfoNCE loss, a scalar: each query's positive is the best passage of its list.

    The negatives are all other passages of the batch; the mean is over queries.

    Args:
        queries: (batch, dimension).
        passages: (batch, n, dimension), in input order.
        ranking: positions of each list's passages, best first, (batch, n).
        temperature: of the softmax over all batch * n passages.
    """
    count = passages.shape[1]
    logits = queries @ passages.flatten(0, 1).T / temperature  # (batch, batch * n)
    first = torch.arange(len(queries), device=logits.device) * count
    return F.cross_entropy(logits, first + ranking[:, 0])


def rank_net(
    prompts: torch.Tensor, passages: torch.Tensor, ranking: torch.Tensor, scale: float = SCALE
) -> torch.Tensor:
    """Return the RankNet loss, a scalar: the pairwise logistic loss of the prompts' cosines.

    The mean is over all ordered pairs of all lists.

    Args:
        prompts: vectors of the listwise prompts, (batch, dimension).
        passages: (batch, n, dimension), in input order; n is at least 2.
        ranking: positions of each list's passages, best first, (batch, n).
        scale: of the cosines.
    """
    scores = scale * (passages @ prompts[:, :, None])[:, :, 0]  # (batch, n)
    best_first = scores.gather(1, ranking)
    differences = best_first[:, :, None] - best_first[:, None, :]  # of rank i and rank j
    above = torch.ones_like(differences, dtype=torch.bool).triu(diagonal=1)
    return F.softplus(-differences[above]).mean()
