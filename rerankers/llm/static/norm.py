"""RMS norm in as few operations as the device allows."""

from __future__ import annotations

import torch
import torch.nn.functional as F


class RMSNorm:
    """The norm of a decoder: rows divided by their root mean square, times a weight for each component.

    On a GPU it is one kernel. A CPU has none, and torch composes it of eight operations; in float32 four do:
    sqrt(mean(x^2) + epsilon) is the hypotenuse of |x| and sqrt(n epsilon), divided by sqrt(n).

    Args:
        weight: (n,)
        epsilon: added to the mean square.
    """

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        self._weight, self._epsilon = weight.detach(), epsilon
        self._hypotenuse: tuple[torch.Tensor, torch.Tensor] | None = None
        if weight.device.type == "cpu" and weight.dtype == torch.float32:
            count = len(weight)
            side = torch.tensor((count * epsilon) ** 0.5)
            self._hypotenuse = side, self._weight * count**0.5

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows, (..., n), divided by their root mean square and multiplied by the weight."""
        if self._hypotenuse is None:
            return F.rms_norm(rows, self._weight.shape, self._weight, self._epsilon)
        side, weight = self._hypotenuse
        length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        return rows.div(length.hypot_(side)).mul_(weight)
