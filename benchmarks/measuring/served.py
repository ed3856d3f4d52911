"""Mode `served`: requests arrive on a schedule or from waiting clients, and latency includes waiting.

`benchmarks.measuring.arrivals` gives the arrival times, and `benchmarks.measuring.servers` answers: a
reranker in this process, first come first served, or an endpoint, which serves side by side.

A resumed run begins with an empty queue at the first request that is missing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.measuring.arrivals import arrivals_of
from benchmarks.measuring.servers import EndpointServer, LocalServer

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from benchmarks.measuring.protocol import Call
    from benchmarks.results.record import Protocol
    from rerankers.interface import Reranker, RerankRequest
    from rerankers.stages import StageClock


def serve(
    rerankers: Sequence[Reranker],
    requests: Sequence[RerankRequest],
    protocol: Protocol,
    clock: StageClock,
    done: Container[tuple[str, int]],
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Call]:
    """Rank all requests `protocol.repeats` times as they arrive, and time each with its wait.

    Args:
        rerankers: one reranker; or as many connections to an endpoint as requests may be under way at once.
        requests: all requests, in the order of arrival.
        protocol: its `served` says how they arrive.
        clock: times the calls of a reranker in this process.
        done: (query id, repeat) pairs that are measured already.
        wait: function that lets the given seconds pass.

    Yields:
        one call for each request; `arrived_seconds` counts from the start of the repeat.
    """
    assert protocol.served is not None  # noqa: S101 - `Protocol` sees to it
    for repeat in range(protocol.repeats):
        places = [place for place, request in enumerate(requests) if (request.query_id, repeat) not in done]
        if not places:
            continue
        arrivals = arrivals_of(protocol.served, places, len(requests), f"{protocol.seed} {repeat}")
        server: LocalServer | EndpointServer
        if len(rerankers) > 1:
            server = EndpointServer(rerankers, wait)
        else:
            server = LocalServer(rerankers[0], protocol, clock, wait)
        yield from server.serve(requests, places, arrivals, repeat)
