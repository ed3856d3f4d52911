"""Limits the learning rates of the projector's layers by how far one step may move a layer's output.

AdamW moves every weight by about the learning rate, however small the weight is. A projector starts with
outputs as short as token embeddings, so its last weights are about 0.002 in a small language model: at a rate
of 1e-3 one step turns an output of length 0.9 into one of length 5, and the loss goes from 4 to 60. Neither
clipping helps, to which AdamW is blind, nor a longer warm-up. So each layer's rate is the largest one, up to
the training's own, at which a step moves no coordinate of its output by more than a share of the output's
root mean square. Rates by layer for the same reason: LARS (arXiv 1708.03888) and muP (arXiv 2203.03466).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SAMPLE = 256  # passages


@torch.no_grad()
def limited_rates(
    projector: nn.Module, vectors: npt.NDArray[np.float32], learning_rate: float, share: float
) -> dict[str, float]:
    """Return lower learning rates for the projector's weights and biases that need one, by parameter name.

    Args:
        projector: as it is before the first step: linear layers one after the other.
        vectors: of passages under the encoder, (passages, encoder dimension).
        learning_rate: peak rate of the training.
        share: of a layer's output by which one step may move it.
    """
    device = next(projector.parameters(), torch.empty(0)).device
    inputs = torch.from_numpy(vectors[:_SAMPLE]).to(device)  # (passages, dimension)
    rates: dict[str, float] = {}
    for name, layer in projector.named_children():
        outputs = layer(inputs)
        if isinstance(layer, nn.Linear):
            furthest = share * outputs.square().mean().sqrt().item()
            limits = {"weight": furthest / inputs.abs().sum(dim=1).mean().item(), "bias": furthest}
            rates |= {
                f"{name}.{part}": limit
                for part, limit in limits.items()
                if 0 < limit < learning_rate and getattr(layer, part) is not None
            }
        inputs = outputs
    return rates
