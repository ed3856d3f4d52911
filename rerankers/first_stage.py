"""The identity: every table's baseline, and the control that shows what the harness itself costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.interface import Capabilities, Cost, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.stages import StageClock


class FirstStage(Reranker):
    """Keeps the candidates in first-stage order."""

    @classmethod
    def capabilities(cls, options: Mapping[str, Any]) -> Capabilities:
        """Tell that nothing is loaded."""
        return Capabilities(may_use_gpu=False)

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank n candidates in the order given."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                ranking = Ranking.of(request, range(len(request.candidates)), cost)
            rankings.append(ranking)
        return rankings
