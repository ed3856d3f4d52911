"""Options of cascades."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.methods.composite.components import Component, CompositeOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.work import RequestSize


class Step(Component):
    """A reranker, and how many of the best candidates so far it sees."""

    depth: int | None = Field(default=None, ge=1)
    """Candidates that the step sees, the best so far; null is all of them."""


class CascadeOptions(CompositeOptions):
    """Options of `cascade`."""

    summary: ClassVar[str] = "one reranker orders many candidates, the next the best"
    implementation: ClassVar[str] = "rerankers.composite.cascade:Cascade"

    steps: list[Step] = Field(min_length=2)
    """Rerankers, each with its options and its depth."""

    @property
    def components(self) -> Sequence[Component]:
        """The steps."""
        return self.steps

    def sizes(self, size: RequestSize) -> list[RequestSize]:
        """Return how large each step's request is."""
        depths = [step.depth or size.candidates for step in self.steps]
        return [replace(size, candidates=min(size.candidates, depth)) for depth in depths]
