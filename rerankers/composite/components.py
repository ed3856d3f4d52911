"""Rerankers made of rerankers: how parts are named in an experiment, made, and paid for."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import fields
from threading import Lock
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, model_validator

from rerankers import registry
from rerankers.errors import InputError
from rerankers.interface import Capabilities, Cost, Reranker, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.encoders.store import EmbeddingStore
    from rerankers.endpoints.prices import Budget
    from rerankers.interface import Ranking, RerankRequest
    from rerankers.stages import StageClock


class Part(BaseModel):
    """A registered reranker with its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reranker: str
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Part:
        try:
            if registry.options_model(self.reranker).needs_qrels:
                raise InputError(f"{self.reranker!r} looks at the answers and cannot be a part")
            registry.validated(self.reranker, self.options)
        except InputError as error:
            raise ValueError(str(error)) from error
        return self


class Composite(Reranker):
    """A reranker that asks others; its costs are sums, and `usage.parts` keeps each one's."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._names = [part.reranker for part in parts]
        self._rerankers = [registry.create(part.reranker, part.options) for part in parts]
        self._locks = [
            nullcontext() if registry.validated(part.reranker, part.options).is_remote else Lock()
            for part in parts
        ]
        self.device = next((part.device for part in self._rerankers if part.device != "cpu"), "cpu")

    @classmethod
    def capabilities(cls, options: Mapping[str, Any]) -> Capabilities:
        """Join what the parts load and call."""
        parts: list[Part] = options["parts"] if "parts" in options else options["steps"]
        each = [registry.validated(part.reranker, part.options) for part in parts]
        return Capabilities(
            models=tuple(dict.fromkeys(model for part in each for model in part.models)),
            is_remote=any(part.is_remote for part in each),
            is_priced=all(part.is_priced for part in each),
            is_replayed=any(part.is_replayed for part in each),
            missing_key=next((part.missing_key for part in each if part.missing_key), None),
            may_use_gpu=any(part.may_use_gpu for part in each),
            embeds_passages=_any_or_unknown(
                [registry.embeds_passages(p.reranker, o) for p, o in zip(parts, each, strict=True)]
            ),
            reads_instruction=any(part.reads_instruction for part in each),
        )

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


def _any_or_unknown(values: Sequence[bool | None]) -> bool | None:
    return None if None in values else any(values)
