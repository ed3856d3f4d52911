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
    """Ranks by the sum of 1 / (k + rank) over the parts' rankings, ranks from 1."""

    def __init__(self, options: FusionOptions) -> None:
        super().__init__(options)
        self._k = options.k

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank by fused reciprocal ranks; stage times are sums, and `usage.parts` keeps each part's."""
        by_part = [self._ask(part, requests, clock) for part in range(len(self._rerankers))]
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
        """Return the constant, and what each part really used."""
        return {"k": self._k, "parts": self.describe_parts()}
