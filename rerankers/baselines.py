"""The first stage itself as a reranker, and controls: rerankers whose result is known beforehand.

Every table compares with the first stage. The controls check the harness itself.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import TYPE_CHECKING

from rerankers.interface import Cost, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.baselines import OracleOptions, RandomOptions
    from rerankers.stages import StageClock


class _Ordering(Reranker):
    """The base of rerankers that order candidates at once, timed as the stage `order`."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return the ranking of each request."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("order", cost):
                rankings.append(self._ranking(request, cost))
        return rankings

    @abstractmethod
    def _ranking(self, request: RerankRequest, cost: Cost) -> Ranking:
        """Return the ranking of one request."""


class FirstStage(_Ordering):
    """A reranker that keeps the first-stage order: the baseline, and a measure of the harness's own time."""

    def _ranking(self, request: RerankRequest, cost: Cost) -> Ranking:
        return Ranking.of(request, range(len(request.candidates)), cost)


class Reverse(_Ordering):
    """A reranker that reverses the first-stage order."""

    def _ranking(self, request: RerankRequest, cost: Cost) -> Ranking:
        return Ranking.of(request, range(len(request.candidates))[::-1], cost)


class Random(_Ordering):
    """A reranker that shuffles; the same seed and query id always give the same order."""

    def __init__(self, options: RandomOptions) -> None:
        self.seed = options.seed

    def _ranking(self, request: RerankRequest, cost: Cost) -> Ranking:
        order = list(range(len(request.candidates)))
        random.Random(f"{self.seed}:{request.query_id}").shuffle(order)  # noqa: S311 - no secret
        return Ranking.of(request, order, cost)


class Oracle(_Ordering):
    """A reranker that sorts by relevance grade: the best that any reranker can reach.

    A passage that is not judged has grade 0; equal grades keep the first-stage order.
    """

    def __init__(self, options: OracleOptions) -> None:
        self.qrels = options.qrels

    def _ranking(self, request: RerankRequest, cost: Cost) -> Ranking:
        grades = self.qrels.get(request.query_id, {})
        scores = [float(grades.get(candidate.doc_id, 0)) for candidate in request.candidates]
        return Ranking.by_score(request, scores, cost)
