"""The first stage itself as a reranker, and controls: rerankers whose result is known beforehand.

Every table compares with the first stage. The harness is checked on itself by the controls.
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
    """Keeps the candidates in first-stage order: the baseline, and the time that the harness itself takes."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank n candidates in the order given."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                ranking = Ranking.of(request, range(len(request.candidates)), cost)
            rankings.append(ranking)
        return rankings


class Reverse(Reranker):
    """Turns the first stage's order around."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the last candidate first."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                rankings.append(Ranking.of(request, range(len(request.candidates))[::-1], cost))
        return rankings


class Random(Reranker):
    """Shuffles; the same seed and query id always give the same order."""

    def __init__(self, options: RandomOptions) -> None:
        self.seed = options.seed

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank by a shuffle that depends on the seed and the query id alone."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                order = list(range(len(request.candidates)))
                random.Random(f"{self.seed}:{request.query_id}").shuffle(order)  # noqa: S311 - no secret
                rankings.append(Ranking.of(request, order, cost))
        return rankings


class Oracle(Reranker):
    """Sorts by relevance grade: the best any reranker can reach. Ties keep the order."""

    def __init__(self, options: OracleOptions) -> None:
        self.qrels = options.qrels

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank by grade, highest first."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                grades = self.qrels.get(request.query_id, {})
                scores = [float(grades.get(candidate.doc_id, 0)) for candidate in request.candidates]
                rankings.append(Ranking.by_score(request, scores, cost))
        return rankings
