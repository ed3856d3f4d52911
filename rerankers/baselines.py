"""The first stage itself as a reranker, and controls: rerankers whose result is known beforehand.

Every table compares with the first stage. The controls check the harness itself.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from rerankers.interface import Cost, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.baselines import OracleOptions, RandomOptions
    from rerankers.stages import StageClock


class FirstStage(Reranker):
    """A reranker that keeps the first-stage order: the baseline, and a measure of the harness's own time."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request in the order of its candidates, timed as the stage `order`."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                ranking = Ranking.of(request, range(len(request.candidates)), cost)
            rankings.append(ranking)
        return rankings


class Reverse(Reranker):
    """A reranker that reverses the first-stage order."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request with its last candidate first, timed as the stage `order`."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                rankings.append(Ranking.of(request, range(len(request.candidates))[::-1], cost))
        return rankings


class Random(Reranker):
    """A reranker that shuffles; the same seed and query id always give the same order."""

    def __init__(self, options: RandomOptions) -> None:
        self.seed = options.seed

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request, shuffled by the seed and the query id alone."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                order = list(range(len(request.candidates)))
                random.Random(f"{self.seed}:{request.query_id}").shuffle(order)  # noqa: S311 - no secret
                rankings.append(Ranking.of(request, order, cost))
        return rankings


class Oracle(Reranker):
    """A reranker that sorts by relevance grade: the best that any reranker can reach. Ties keep the order."""

    def __init__(self, options: OracleOptions) -> None:
        self.qrels = options.qrels

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request by the grades of its passages, highest first.

        A passage that is not judged has grade 0; equal grades keep the first-stage order.
        """
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                grades = self.qrels.get(request.query_id, {})
                scores = [float(grades.get(candidate.doc_id, 0)) for candidate in request.candidates]
                rankings.append(Ranking.by_score(request, scores, cost))
        return rankings
