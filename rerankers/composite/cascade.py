"""Cascades: a cheap reranker orders many candidates, a better one the best of them (arXiv 1910.14424)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, validate_call

from rerankers.composite.components import Composite, Part
from rerankers.interface import Cost, Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.interface import RerankRequest
    from rerankers.stages import StageClock


class Step(Part):
    """A reranker and how many of the best candidates so far it sees; None is all of them."""

    depth: Annotated[int, Field(ge=1)] | None = None


class Cascade(Composite):
    """Each step reorders the top of the order so far; what it does not see stays below, in order.

    Args:
        steps: rerankers, each with its options and its depth.

    Raises:
        UnknownNameError: a step is not registered.
        InputError: a step's option does not fit, or a step looks at the answers.
    """

    @validate_call
    def __init__(self, *, steps: Annotated[list[Step], Field(min_length=2)]) -> None:
        super().__init__(steps)
        self._depths = [step.depth for step in steps]

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank step by step; rank n scores 1; stage times are sums, and `usage.parts` keeps each step's."""
        costs = [Cost() for _ in requests]
        orders = [list(request.candidates) for request in requests]
        for i, depth in enumerate(self._depths):
            tops = [
                replace(request, candidates=tuple(order[:depth]))
                for request, order in zip(requests, orders, strict=True)
            ]
            for top, order, cost, ranking in zip(tops, orders, costs, self._ask(i, tops, clock), strict=True):
                self._charge(cost, i, ranking)
                by_id = {candidate.doc_id: candidate for candidate in top.candidates}
                order[: len(by_id)] = [by_id[doc_id] for doc_id in ranking.doc_ids]
        rankings = []
        for request, order, cost in zip(requests, orders, costs, strict=True):
            with clock.stage("order", cost):
                position = {candidate.doc_id: i for i, candidate in enumerate(request.candidates)}
                rankings.append(Ranking.of(request, [position[c.doc_id] for c in order], cost))
        return rankings

    def describe(self) -> dict[str, object]:
        """Each step's depth, and what it really used."""
        described = zip(self.describe_parts(), self._depths, strict=True)
        return {"steps": [{**part, "depth": depth} for part, depth in described]}
