"""Calls that may cost money: each is looked up, claimed, budgeted, asked, retried and kept.

Calls of several queries are under way at once. When one fails for good, no further call begins; those under
way are waited for and kept, and queries that they finish are handed over with the error.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rerankers.endpoints.failures import PASSING, UnusableResponseError, may_be_billed
from rerankers.endpoints.prices import Account
from rerankers.endpoints.response_cache import Recording
from rerankers.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from rerankers.endpoints.client import HttpClient
    from rerankers.endpoints.failures import Endpoint
    from rerankers.endpoints.prices import Budget
    from rerankers.endpoints.response_cache import Exchange
    from rerankers.interface import Cost
    from rerankers.stages import StageClock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PaidCall:
    """One call.

    Attributes:
        body: its canonical JSON, under which the answer is kept.
        cost: the request that pays.
        most_dollars: the most that one attempt can cost.
        ask: makes one attempt, whose errors are those of `HttpClient`.
        dollars: what an answer cost.
        suffices: whether an answer that was kept is enough.
    """

    body: str
    cost: Cost
    most_dollars: Callable[[], float]
    ask: Callable[[], Awaitable[Exchange]]
    dollars: Callable[[Exchange], float]
    suffices: Callable[[Exchange], bool] = lambda exchange: True


class PaidClient:
    """Makes the calls to one endpoint, and owns its connections, event loop, response cache and budget.

    Args:
        http: the client of the endpoint.
        endpoint: what errors say about it.
        url: its address without credentials, a part of the keys of the response cache.
        concurrency: queries under way at once, and calls of theirs.
        recording: the file of the response cache.
    """

    def __init__(
        self, http: HttpClient, endpoint: Endpoint, url: str, concurrency: int, recording: Path | None
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._url = url
        self._concurrency = concurrency
        self._recording = Recording(recording) if recording else None
        self._account: Account | None = None
        self._runner = asyncio.Runner()
        self._broken: BackendError | None = None
        self._stop = asyncio.Event()
        self._free = asyncio.Semaphore(concurrency)  # calls of all queries
        self.calls_replayed = 0

    def pay_from(self, budget: Budget) -> None:
        """Stop before calls could cost more than a budget has left."""
        self._account = Account(budget)

    def run(self, queries: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Answer queries, up to `concurrency` at once; the results in their order.

        Raises:
            BackendError: the endpoint failed for good, now or in an earlier call. Its `finished` holds the
                results of the queries that were finished all the same.
        """
        if self._broken is not None:
            raise BackendError(str(self._broken)) from self._broken
        self._stop.clear()
        return self._runner.run(self._run(queries))

    async def _run(self, queries: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        free = asyncio.Semaphore(self._concurrency)
        self._free = asyncio.Semaphore(self._concurrency)
        failures: list[Exception] = []

        async def answer(query: Callable[[], Awaitable[T]]) -> T | None:
            async with free:
                if failures:
                    return None
                try:
                    return await query()
                except Exception as error:
                    failures.append(error)
                    self._stop.set()
                    return None

        results = await asyncio.gather(*(answer(query) for query in queries))
        if not failures:
            return [result for result in results if result is not None]
        first = failures[0]
        if isinstance(first, BackendError):
            first.finished = [result for result in results if result is not None]
            self._broken = first
        raise first

    async def answer(self, calls: Sequence[PaidCall], clock: StageClock, alone: bool) -> list[Exchange]:
        """Answer calls of one query that do not depend on each other, and charge their seconds to it.

        Answers come from the response cache or the endpoint, up to `concurrency` at once. The seconds are
        those until the last answer, had no attempt failed. Stages of calls side by side share them.

        A query that runs alone has the clock corrected: a replayed answer takes its recorded time, and what
        was spent on failures and waits did not happen. Queries side by side share one clock, where only
        their own stages can be right.
        """
        started = clock.now()
        exchanges = await self._all_answered(calls)
        seconds = [sum(exchange.stage_seconds.values(), 0.0) for exchange in exchanges]
        total = _until_the_last(seconds, self._concurrency)
        if alone:
            clock.advance(total - (clock.now() - started))
        share = total / sum(seconds) if len(calls) > 1 and total else 1.0
        for call, exchange in zip(calls, exchanges, strict=True):
            charged = call.cost.stage_seconds
            for stage, stage_seconds in exchange.stage_seconds.items():
                charged[stage] = charged.get(stage, 0.0) + share * stage_seconds
            call.cost.usage.llm_calls += 1
        return exchanges

    async def _all_answered(self, calls: Sequence[PaidCall]) -> list[Exchange]:
        """Return the answers in the order of the calls; once one fails for good, none begins."""
        failures: list[Exception] = []

        async def answer(call: PaidCall) -> Exchange | None:
            async with self._free:
                try:
                    if failures:
                        return None
                    return await self._kept_or_asked(call)
                except Exception as error:
                    failures.append(error)
                    self._stop.set()
                    return None

        exchanges = await asyncio.gather(*map(answer, calls))
        if failures:
            raise failures[0]
        return [exchange for exchange in exchanges if exchange is not None]

    async def _kept_or_asked(self, call: PaidCall) -> Exchange:
        if self._recording is None:
            return await self._ask(call)
        key = self._recording.next_key(self._url, call.body)
        kept = self._recording.find(key)
        if kept is None or not call.suffices(kept):
            async with self._recording.claim(key):
                kept = self._recording.find(key)  # another process may have asked meanwhile
                if kept is None or not call.suffices(kept):
                    exchange = await self._ask(call)
                    self._recording.add(key, exchange)
                    return exchange
        self.calls_replayed += 1
        call.cost.usage.calls_replayed += 1
        return kept

    async def _ask(self, call: PaidCall) -> Exchange:
        """Ask until there is an answer; every attempt is paid from the budget.

        Raises:
            BackendError: the endpoint failed for good, another query failed, or the budget is spent.
        """
        for failures in itertools.count(1):
            self._check_that_nothing_failed()
            try:
                return await self._attempt(call)
            except PASSING as error:
                wait = self._endpoint.wait_before_retry(error, failures)
            call.cost.usage.retries += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)
        raise AssertionError  # the loop has no end

    def _check_that_nothing_failed(self) -> None:
        if self._stop.is_set():
            raise BackendError(f"{self._endpoint.name} is asked no further; another query failed")

    async def _attempt(self, call: PaidCall) -> Exchange:
        if self._account is None:
            return await call.ask()
        async with self._account.bill(call.most_dollars()) as bill:
            try:
                self._check_that_nothing_failed()  # while it waited for money
                exchange = await call.ask()
            except Exception as error:
                counted = error.exchange if isinstance(error, UnusableResponseError) else None
                if counted is not None:
                    bill.dollars, bill.is_estimate = call.dollars(counted), counted.is_estimate
                elif not may_be_billed(error):
                    bill.dollars, bill.is_estimate = 0.0, False
                raise
            bill.dollars, bill.is_estimate = call.dollars(exchange), exchange.is_estimate
        return exchange

    def close(self) -> None:
        """Close connections, the event loop and the response cache."""
        if self._http.is_closed:
            return
        self._runner.run(self._http.close())
        self._runner.close()
        if self._recording:
            self._recording.close()


def _until_the_last(seconds: Sequence[float], at_once: int) -> float:
    """Return the seconds of calls of which up to `at_once` run side by side, begun in order."""
    ends: list[float] = []
    for duration in seconds:
        begins = heapq.heappop(ends) if len(ends) == at_once else 0.0
        heapq.heappush(ends, begins + duration)
    return max(ends, default=0.0)
