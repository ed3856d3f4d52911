"""Rerankers made of rerankers: how parts are named in an experiment, made, and paid for."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from rerankers import registry
from rerankers.errors import InputError
from rerankers.interface import Cost, Reranker, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.interface import Ranking, RerankRequest
    from rerankers.llm.prices import Budget


class Part(BaseModel):
    """A registered reranker with its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reranker: str
    options: dict[str, Any] = {}


class Composite(Reranker):
    """A reranker that asks others; its costs are sums, and `usage.parts` keeps each one's."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._names = [part.reranker for part in parts]
        self._rerankers: list[Reranker] = []
        for part in parts:
            if registry.load(part.reranker).needs_qrels:
                raise InputError(f"{part.reranker!r} looks at the answers and cannot be a part")
            self._rerankers.append(registry.create(part.reranker, part.options))
        self.device = next((part.device for part in self._rerankers if part.device != "cpu"), "cpu")

    def describe_parts(self) -> list[dict[str, object]]:
        """What each part really used."""
        return [
            {"reranker": name, **part.describe()}
            for name, part in zip(self._names, self._rerankers, strict=True)
        ]

    def _charge(self, cost: Cost, part: int, ranking: Ranking) -> None:
        """Add what a part's ranking cost, seconds stage by stage and every count, and keep it apart too."""
        for stage, seconds in ranking.stage_seconds.items():
            cost.stage_seconds[stage] = cost.stage_seconds.get(stage, 0.0) + seconds
        for field in fields(Usage):
            if field.name not in ("faults", "parts"):
                total = getattr(cost.usage, field.name) + getattr(ranking.usage, field.name)
                setattr(cost.usage, field.name, total)
        for kind, count in ranking.usage.faults.items():
            cost.usage.fault(kind, count)
        cost.usage.parts.append(
            {
                "reranker": self._names[part],
                "stage_seconds": dict(ranking.stage_seconds),
                "usage": ranking.usage.nonzero(),
            }
        )

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
