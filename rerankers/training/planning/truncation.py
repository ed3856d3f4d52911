"""Counts the texts of a training that are truncated, before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

_COUNTED = 20_000  # texts; of more, as many evenly spaced ones are counted


@dataclass(frozen=True, slots=True)
class Truncation:
    """The count of truncated texts of one kind.

    Attributes:
        kind: of the texts, in the plural.
        cut: how many are cut; an estimate if not all were counted.
        total: how many there are.
        max_length: where they are cut, in tokens; None where nothing is cut.
        is_estimate: whether only some of them were counted.
    """

    kind: str
    cut: int
    total: int
    max_length: int | None
    is_estimate: bool

    def __str__(self) -> str:
        about = "about " if self.is_estimate else ""
        share = f" ({self.cut / self.total:.1%})" if self.cut else ""
        if self.max_length is None:
            return f"{self.kind}: none of {self.total} is cut"
        return f"{self.kind}: {about}{self.cut} of {self.total}{share} are cut at {self.max_length} tokens"


def count_truncated(
    kind: str, total: int, max_length: int | None, count_cut: Callable[[npt.NDArray[np.int64]], int]
) -> Truncation:
    """Return how many of `total` texts of one kind are cut; of more than 20,000 texts a sample is counted.

    Args:
        kind: of the texts, in the plural.
        total: how many there are.
        max_length: where they are cut, in tokens; None where none is.
        count_cut: returns how many of the texts with these numbers are cut.
    """
    if total <= _COUNTED:
        return Truncation(kind, count_cut(np.arange(total)), total, max_length, is_estimate=False)
    some = np.linspace(0, total - 1, _COUNTED).astype(np.int64)
    return Truncation(kind, round(count_cut(some) / _COUNTED * total), total, max_length, is_estimate=True)
