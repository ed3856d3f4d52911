"""The base of rerankers that combine others: it creates components, calls them and adds up their costs."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import fields
from threading import Lock
from typing import TYPE_CHECKING

from rerankers import registry
from rerankers.interface import Cost, Reranker, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.encoders.store import EmbeddingStore
    from rerankers.endpoints.prices import Budget
    from rerankers.interface import Ranking, RerankRequest
    from rerankers.methods.composite.components import CompositeOptions
    from rerankers.stages import StageClock


class Composite(Reranker):
    """A reranker that combines the rankings of its components.

    Its costs are sums over the components, and `usage.parts` keeps each one's own.
    """

    def __init__(self, options: CompositeOptions) -> None:
        components = options.components
        self._names = [component.name for component in components]
        self._rerankers = [registry.create(component.name, component.options) for component in components]
        self._locks = [nullcontext() if component.validated.is_remote else Lock() for component in components]
        self.device = next((part.device for part in self._rerankers if part.device != "cpu"), "cpu")

    def connection(self) -> Reranker:
        """Return a copy for one more client at the same time.

        Endpoints get connections of their own. Models are shared, and used by one client at a time.
        """
        other = copy.copy(self)
        other._rerankers = [part.connection() for part in self._rerankers]
        return other

    def _rank_by(self, part: int, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return the rankings by component number `part`; only one client at a time uses a local model."""
        with self._locks[part]:
            return self._rerankers[part].rerank(requests, clock)

    def describe_parts(self) -> list[dict[str, object]]:
        """Return each component's name and the models and settings that it really used, for the record."""
        return [
            {"reranker": name, **part.describe()}
            for name, part in zip(self._names, self._rerankers, strict=True)
        ]

    def _charge(self, cost: Cost, part: int, ranking: Ranking) -> None:
        """Add the cost of one component's ranking to `cost`, and append it to `usage.parts`.

        Args:
            cost: of the whole request.
            part: number of the component.
            ranking: its ranking of the request.
        """
        for stage, seconds in ranking.stage_seconds.items():
            cost.stage_seconds[stage] = cost.stage_seconds.get(stage, 0.0) + seconds
        for field in fields(Usage):
            if field.name not in ("faults", "parts", "ties"):
                total = getattr(cost.usage, field.name) + getattr(ranking.usage, field.name)
                setattr(cost.usage, field.name, total)
        cost.usage.ties = ranking.usage.ties  # of the part that ran last, which decides
        for kind, count in ranking.usage.faults.items():
            cost.usage.fault(kind, count)
        cost.usage.parts.append(
            {
                "reranker": self._names[part],
                "stage_seconds": dict(ranking.stage_seconds),
                "usage": ranking.usage.nonzero(),
            }
        )

    def stores(self) -> Sequence[EmbeddingStore]:
        """Return the embedding stores of all components."""
        return [store for part in self._rerankers for store in part.stores()]

    def prepare(self, requests: Sequence[RerankRequest]) -> None:
        """Let every component prepare for the candidates of these requests."""
        for part in self._rerankers:
            part.prepare(requests)

    def end_warm_up(self) -> None:
        """Let every component make nothing ready any more."""
        for part in self._rerankers:
            part.end_warm_up()

    def pay_from(self, budget: Budget) -> None:
        """Let every component pay for its calls from one budget."""
        for part in self._rerankers:
            part.pay_from(budget)

    def close(self) -> None:
        """Close every component."""
        for part in self._rerankers:
            part.close()
