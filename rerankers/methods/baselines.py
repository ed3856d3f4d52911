"""Options of the first stage itself as a reranker, and of controls, whose result is known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, StrictInt

from rerankers.options import MethodOptions, Role
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class BaselineOptions(MethodOptions):
    """Options of a reranker that loads no model and calls no endpoint."""

    role: ClassVar[Role] = "control"

    @property
    def may_use_gpu(self) -> bool:
        """False: no tensor is computed."""
        return False

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: nothing is read or written."""
        return Work()


class FirstStageOptions(BaselineOptions):
    """`first-stage` has no options."""

    summary: ClassVar[str] = "keeps the first stage's order (the baseline)"
    implementation: ClassVar[str] = "rerankers.baselines:FirstStage"
    role: ClassVar[Role] = "first stage"


class ReverseOptions(BaselineOptions):
    """`reverse` has no options."""

    summary: ClassVar[str] = "turns the first stage's order around (control)"
    implementation: ClassVar[str] = "rerankers.baselines:Reverse"


class RandomOptions(BaselineOptions):
    """Options of `random`."""

    summary: ClassVar[str] = "shuffles with a seed (control)"
    implementation: ClassVar[str] = "rerankers.baselines:Random"

    seed: int = 0
    """Seed of everything that is drawn."""


class OracleOptions(BaselineOptions):
    """Options of `oracle`: none that a user gives."""

    summary: ClassVar[str] = "sorts by the relevance grades: the reachable optimum (control)"
    implementation: ClassVar[str] = "rerankers.baselines:Oracle"
    needs_qrels: ClassVar[bool] = True

    qrels: dict[str, dict[str, StrictInt]] = Field(default_factory=dict)
    """Grade by doc id by query id; a document that is not judged counts as 0."""
