"""The precision of a model's outputs: their largest difference from those of torch in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROBES = (
    "how long do honey bees live in winter",
    "Worker bees born in autumn live for four to six months and keep the queen warm until spring.",
    "The city library lends maps and sheet music to visitors, and opens at nine.",
    "7 + 5 = 12",
    "An old lighthouse warns sailors of the northern reef. " * 8,
)
"""Texts on which outputs are compared whenever a model loads."""

_LARGEST_COPY = 500_000_000  # weights of a model that is loaded a second time, in float32
_EXACT = 1e-4


@dataclass(frozen=True, slots=True)
class Precision:
    """The precision of a model's outputs.

    Attributes:
        name: `float32`, `bfloat16`, `float16` or `int8`.
        difference: the largest difference of an output to torch's in float32; see `largest_difference`.
    """

    name: str
    difference: float

    @property
    def notice(self) -> str:
        """The note on the precision that a table has to show; empty for float32."""
        if self.name == "float32":
            return ""
        return f"computed in {self.name}: outputs differ from float32 by up to {self.difference:g}"


def largest_difference(expected: torch.Tensor, outputs: torch.Tensor) -> float:
    """Return the largest difference between two tensors of one shape, rounded for the record.

    It has two digits; below 1e-4, where it varies with the machine, it is the next power of ten above.

    Args:
        expected: torch's outputs in float32.
        outputs: the outputs to compare.
    """
    difference = float((outputs - expected).abs().max())
    if 0 < difference < _EXACT:
        return float(f"1e{math.ceil(math.log10(difference))}")
    return float(f"{difference:.2g}")


def half_precision(
    transformer: Any,
    outputs: Callable[[Sequence[str]], torch.Tensor],
    load_float32: Callable[[], Any],
) -> Precision | None:
    """Return the precision of a model on a CPU in half precision, compared with the same model in float32.

    Args:
        transformer: a module of sentence-transformers, whose `model` is replaced for the comparison.
        outputs: computes the whole model's outputs for texts, as float32.
        load_float32: loads the same module in float32.

    Returns:
        The precision; None for a model in float32, on a GPU, or too large to be loaded twice.
    """
    half = transformer.model
    weight = next(half.parameters())
    size = sum(each.numel() for each in half.parameters())
    if weight.dtype == torch.float32 or weight.device.type != "cpu" or size > _LARGEST_COPY:
        return None
    actual = outputs(PROBES)
    transformer.model = load_float32().model
    try:
        expected = outputs(PROBES)
    finally:
        transformer.model = half
    return Precision(str(weight.dtype).removeprefix("torch."), largest_difference(expected, actual))
