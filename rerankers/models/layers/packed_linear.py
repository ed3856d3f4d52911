"""Linear layers of a transformer on a CPU, with weights laid out once for oneDNN.

torch's own linear layer copies its bias to every row before the product, and reads and writes the result
once more for an activation. oneDNN adds the bias and applies GELU while it writes the result, with weights in
blocks that fit its kernels. Outputs are those of torch up to the rounding of float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.activations import GELUActivation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FAMILIES = {"bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"}
"""Model types whose layers read no attribute of their linear layers."""

_ROWS = 512  # of a usual batch, for which oneDNN chooses its blocks


class PackedLinear(nn.Module):
    """A linear layer in oneDNN's layout, in place of one of torch's.

    Args:
        linear: float32 weights and bias on the CPU; its weights are not kept.
        has_gelu: whether GELU (by the error function) follows.
    """

    def __init__(self, linear: nn.Linear, has_gelu: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach()
        self._activation: tuple[str, list[float], str] = (
            ("gelu", [], "none") if has_gelu else ("none", [], "")
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return (..., out_features) for values of shape (..., in_features)."""
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            values, self._packed, self._bias, *self._activation
        )
        return result


def pack_linear_layers(network: Any) -> int:
    """Replace the linear layers of a BERT-like network on a CPU in float32, and return their number.

    Others are left as they are, as are all where this build of torch lacks oneDNN. The network can no longer
    be trained, exported or saved.

    Args:
        network: a model of transformers in evaluation mode.
    """
    config = getattr(network, "config", None)
    if getattr(config, "model_type", None) not in _FAMILIES or not _has_packed_kernel():
        return 0
    replaced = 0
    for module, name, linear in list(_linear_layers(network)):
        has_gelu = name == "dense" and isinstance(
            getattr(module, "intermediate_act_fn", None), GELUActivation
        )
        setattr(module, name, PackedLinear(linear, has_gelu))
        if has_gelu:
            module.intermediate_act_fn = nn.Identity()
        replaced += 1
    return replaced


def _linear_layers(network: nn.Module) -> Iterator[tuple[Any, str, nn.Linear]]:
    """Yield each float32 linear layer on the CPU with the module that holds it and its name there."""
    kind = (torch.float32, "cpu")
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.Linear and (child.weight.dtype, child.weight.device.type) == kind:
                yield module, name, child


def _has_packed_kernel() -> bool:
    """Return whether this build of torch has oneDNN and its operators for packed linear layers."""
    operators = ("_reorder_linear_weight", "_linear_pointwise")
    is_available: Callable[[], bool] = torch.backends.mkldnn.is_available
    return is_available() and all(hasattr(torch.ops.mkldnn, name) for name in operators)
