"""Options of reciprocal rank fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.methods.composite.components import Component, CompositeOptions

if TYPE_CHECKING:
    from collections.abc import Sequence


class FusionOptions(CompositeOptions):
    """Options of `fusion`."""

    summary: ClassVar[str] = "reciprocal rank fusion of several rerankers"
    implementation: ClassVar[str] = "rerankers.composite.fusion:Fusion"

    parts: list[Component] = Field(min_length=2)
    """Rerankers, each with its options; `first-stage` is the given order."""

    k: float = Field(default=60.0, gt=0)
    """Damps the head of each ranking; 60 in the paper."""

    @property
    def components(self) -> Sequence[Component]:
        """The parts."""
        return self.parts
