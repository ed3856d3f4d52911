"""The loads of an experiment in mode `served`: one, a sweep over several, or a search for the highest rate.

    served: {rate: 2.0}                        2 requests a second
    served: {rate: [1, 2, 4]}                  a sweep: each rate is a cell of its own
    served: {slo: p95 < 0.5 s}                 a search for the highest rate that keeps it
    served: {rate: [1, 2, 4], slo: p95 < 0.5 s}    the sweep, and then the search

A search begins with a single client, whose requests never wait: its responses per second are the first rate
(`benchmarks.measuring.slo`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field, model_validator

from benchmarks.results.record import Protocol, Served

if TYPE_CHECKING:
    from collections.abc import Sequence

_Value = TypeVar("_Value", int, float)

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Clients = Annotated[int, Field(ge=1)]


class ServedSpec(Served):
    """The arrival process of mode `served`, as an experiment file states it.

    Attributes:
        rate: requests per second that arrive on their own; a list is a sweep.
        arrivals: arrival times with a rate: `poisson` at random, or `fixed` at equal distances.
        concurrency: number of clients, each of which sends a request once its last one is answered; a list is
            a sweep. With a rate, the most requests that an endpoint gets at once, 64 by default.
        slo: bound on a percentile of latency, such as `p95 < 0.5 s`. With a rate, or without a concurrency,
            the highest rate that keeps it is searched.
    """

    rate: Rate | Annotated[list[Rate], Field(min_length=1)] | None = None  # type: ignore[assignment]
    concurrency: Clients | Annotated[list[Clients], Field(min_length=1)] | None = None  # type: ignore[assignment]

    @model_validator(mode="after")
    def _something_arrives(self) -> ServedSpec:
        """Raise ValueError if no load is stated, or if a sweep over clients and a search are combined."""
        if self.rate is None and self.concurrency is None and self.slo is None:
            raise ValueError("say how requests arrive: rate, in requests a second, concurrency, or slo")
        if isinstance(self.concurrency, list) and self.searches_highest_rate:
            raise ValueError("a sweep over clients and a search over rates exclude each other; leave one out")
        return self

    @property
    def searches_highest_rate(self) -> bool:
        """True if the highest rate that keeps the SLO is searched."""
        return self.slo is not None and (self.rate is not None or self.concurrency is None)

    def loads(self) -> list[Served]:
        """Return the loads to measure in any case: those of the sweep, or a single client before a search."""
        rates = _as_list(self.rate)
        common = {"arrivals": self.arrivals, "slo": self.slo}
        alone = [Served(concurrency=1, slo=self.slo)] if self.searches_highest_rate else []
        if rates:
            return [*alone, *(Served(rate=rate, concurrency=self.most, **common) for rate in rates)]
        return alone or [Served(concurrency=clients, slo=self.slo) for clients in _as_list(self.concurrency)]

    @property
    def most(self) -> int | None:
        """Most requests that an endpoint gets at once; None if the concurrency is a sweep or unset."""
        return None if isinstance(self.concurrency, list) else self.concurrency


class ProtocolSpec(Protocol):
    """The measuring protocol, as an experiment file states it.

    Attributes:
        served: how requests arrive in served mode.
    """

    served: ServedSpec | None = None

    def for_each_load(self) -> list[Protocol]:
        """Return one protocol per load, or a single protocol in the other modes."""
        if self.served is None:
            return [Protocol.model_validate(self.model_dump())]
        return [self.at(load) for load in self.served.loads()]

    @property
    def has_several_loads(self) -> bool:
        """True if each system is measured at more than one load."""
        return len(self.for_each_load()) > 1 or (
            self.served is not None and self.served.searches_highest_rate
        )

    def at(self, load: Served) -> Protocol:
        """Return the protocol with one particular load."""
        return Protocol.model_validate({**self.model_dump(), "served": load})


def _as_list(value: _Value | list[_Value] | None) -> Sequence[_Value]:
    """Return a list unchanged, a single value as a list of one, and None as an empty list."""
    return value if isinstance(value, list) else [] if value is None else [value]
