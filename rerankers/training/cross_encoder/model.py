"""The trainable cross-encoder, whose loss is ListNet on lists that a teacher scored."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def list_net(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the ListNet loss, a scalar: cross-entropy of softmax(scores) under softmax(labels).

    Top-one probabilities (Cao et al., ICML 2007, section 4.4); the mean is over lists.

    Args:
        scores: of the passages, (lists, n); anything where there is no passage.
        labels: logits of the teacher's distribution, (lists, n); -inf where there is no passage.
    """
    is_passage = labels > -torch.inf
    log_probabilities = scores.float().masked_fill(~is_passage, -torch.inf).log_softmax(dim=1)
    products = labels.softmax(dim=1) * log_probabilities.masked_fill(~is_passage, 0.0)
    return -products.sum(dim=1).mean()


class TrainableCrossEncoder(nn.Module):
    """A `CrossEncoder` of sentence-transformers to train: its adapter and head learn, or all of it.

    Args:
        encoder: the cross-encoder.
        adapted: PEFT's wrapping of its network, which is changed in place; None without an adapter.
    """

    merger = None  # the adapter's weights are not merged while it learns

    def __init__(self, encoder: Any, adapted: Any | None) -> None:
        super().__init__()
        self.encoder = encoder
        self._wrapping = (adapted,)  # in a tuple, or its weights would be counted twice

    @property
    def adapted(self) -> Any | None:
        """PEFT's wrapping of the network; None without an adapter."""
        return self._wrapping[0]

    def forward(self, labels: torch.Tensor, **features: torch.Tensor) -> dict[str, Any]:
        """Return the loss of a batch of lists.

        Args:
            labels: see `list_net`.
            features: the pairs of all lists, one list after the other, as `CrossEncoder.preprocess` has them.

        Returns:
            `loss` (a scalar) and `parts` (detached scalars by name).
        """
        scores = labels.new_zeros(labels.shape)
        logits = self.encoder(features)["scores"].view(-1).float()
        scores = scores.masked_scatter(labels > -torch.inf, logits)
        loss = list_net(scores, labels)
        return {"loss": loss, "parts": {"list_net": loss.detach()}}
