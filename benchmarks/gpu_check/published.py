"""PE-Rank as the published code runs it, as a reranker of one's own for comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.gpu_check.reference_pe_rank import ReferencePERank
from rerankers import Cost, Ranking
from rerankers.pe_rank.reranker import PERank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers import RerankRequest, StageClock


class PublishedPERank(PERank):
    """A PE-Rank that works as its released code: windows embed their passages, passes compute all logits."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank each request by itself, one window after the other, and return one ranking for each."""
        reference = ReferencePERank(self._llm, self._encoder)
        rankings = []
        for request in requests:
            cost = Cost()
            order = reference.order(request, cost, clock)
            cost.usage.decode_steps = reference.passes
            rankings.append(Ranking.of(request, order, cost))
        return rankings
