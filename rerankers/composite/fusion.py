"""Reciprocal rank fusion of several rerankers (Cormack, Clarke, Büttcher, SIGIR 2009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.composite.components import Composite
from rerankers.interface import Cost, Ranking, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.composite.fusion import FusionOptions
    from rerankers.stages import StageClock


class Fusion(Composite):
    """A reranker that sorts by the sum of 1 / (k + rank) over its components' rankings, ranks from 1."""

    def __init__(self, options: FusionOptions) -> None:
        super().__init__(options)
        self._k = options.k

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank each request by every component, and sort by the sum of reciprocal ranks.

        Stage seconds and counts are sums over the components; `usage.parts` keeps each one's own.
        """
        by_part = [self._rank_by(part, requests, clock) for part in range(len(self._rerankers))]
        rankings = []
        for request, *component_rankings in zip(requests, *by_part, strict=True):
            cost = Cost()
            for part, ranking in enumerate(component_rankings):
                self._charge(cost, part, ranking)
            with clock.stage("order", cost):
                fused = {candidate.doc_id: 0.0 for candidate in request.candidates}
                for ranking in component_rankings:
                    for rank, doc_id in enumerate(ranking.doc_ids, start=1):
                        fused[doc_id] += 1.0 / (self._k + rank)
                rankings.append(Ranking.by_score(request, list(fused.values()), cost))
        return rankings

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the constant k and each component's description."""
        return {"k": self._k, "parts": self.describe_parts()}
