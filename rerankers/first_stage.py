"""The identity: every table's baseline, and the control that shows what the harness itself costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.interface import Cost, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.stages import StageClock


class FirstStage(Reranker):
    """Keeps the candidates in first-stage order."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank n candidates in the order given."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                ranking = Ranking.of(request, range(len(request.candidates)), cost)
            rankings.append(ranking)
        return rankings
