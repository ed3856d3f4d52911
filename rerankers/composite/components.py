"""Rerankers made of rerankers: how their components are made, asked, and paid for."""

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
    """A reranker that asks others; its costs are sums, and `usage.parts` keeps each one's."""

    def __init__(self, options: CompositeOptions) -> None:
        components = options.components
        self._names = [component.name for component in components]
        self._rerankers = [registry.create(component.name, component.options) for component in components]
        self._locks = [nullcontext() if component.validated.is_remote else Lock() for component in components]
        self.device = next((part.device for part in self._rerankers if part.device != "cpu"), "cpu")

    def connection(self) -> Reranker:
        """Return one whose endpoints have connections of their own; models are shared, a client at a time."""
        other = copy.copy(self)
        other._rerankers = [part.connection() for part in self._rerankers]
        return other

    def _ask(self, part: int, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        with self._locks[part]:
            return self._rerankers[part].rerank(requests, clock)

    def describe_parts(self) -> list[dict[str, object]]:
        """Return the models and settings that each component really used, for the record."""
        return [
            {"reranker": name, **part.describe()}
            for name, part in zip(self._names, self._rerankers, strict=True)
        ]

    def _charge(self, cost: Cost, part: int, ranking: Ranking) -> None:
        """Add what a part's ranking cost, seconds stage by stage and every count, and keep it apart too."""
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
        """Return the embedding stores of every part."""
        return [store for part in self._rerankers for store in part.stores()]

    def prepare(self, requests: Sequence[RerankRequest]) -> None:
        """Let every part prepare for all candidates."""
        for part in self._rerankers:
            part.prepare(requests)

    def pay_from(self, budget: Budget) -> None:
        """Let every part pay from one budget."""
        for part in self._rerankers:
            part.pay_from(budget)

    def close(self) -> None:
        """Close every part."""
        for part in self._rerankers:
            part.close()
