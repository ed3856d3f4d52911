"""Cascades: a cheap reranker orders many candidates, a better one the best of them (arXiv 1910.14424)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rerankers.composite.components import Composite
from rerankers.interface import Cost, Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.interface import RerankRequest
    from rerankers.methods.composite.cascade import CascadeOptions
    from rerankers.stages import StageClock


class Cascade(Composite):
    """A reranker in steps, each of which reorders the top of the list that the step before left.

    Candidates below a step's depth keep their order behind the reordered ones.
    """

    def __init__(self, options: CascadeOptions) -> None:
        super().__init__(options)
        self._depths = [step.depth for step in options.steps]

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank each request by all steps, one after another; the last rank has score 1.

        Stage seconds and counts are sums over the steps; `usage.parts` keeps each step's own.
        """
        costs = [Cost() for _ in requests]
        orders = [list(request.candidates) for request in requests]
        for i, depth in enumerate(self._depths):
            tops = [
                replace(request, candidates=tuple(order[:depth]))
                for request, order in zip(requests, orders, strict=True)
            ]
            for top, order, cost, ranking in zip(
                tops, orders, costs, self._rank_by(i, tops, clock), strict=True
            ):
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
        """Return the record's entry: each step's depth and the description of its reranker."""
        described = zip(self.describe_parts(), self._depths, strict=True)
        return {"steps": [{**part, "depth": depth} for part, depth in described]}
