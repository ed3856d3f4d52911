"""The one client of calls that may cost money: each is looked up, claimed, budgeted, asked, retried, charged.

The connections and the bounds of a response are those of `rerankers.endpoints.client`; how long a failure is
waited out is said by `rerankers.endpoints.endpoint`.

Calls of several queries are under way at once. When one fails for good, no further call begins; those under
way are waited for and kept, and queries that they finish are handed over with the error.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rerankers.endpoints.failures import PASSING, UnusableResponseError, may_be_billed
from rerankers.endpoints.prices import Account
from rerankers.endpoints.response_cache import Recording
from rerankers.errors import BackendError, InputError
from rerankers.interface import Cost
from rerankers.text.redaction import hide_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rerankers.endpoints.client import HttpClient
    from rerankers.endpoints.exchange import Exchange
    from rerankers.endpoints.prices import Budget, Price, RerankPrice
    from rerankers.stages import Stage, StageClock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PaidCall:
    """One call.

    Attributes:
        body: its canonical JSON, under which the response is cached.
        cost: the request that pays.
        largest: returns the most tokens that one attempt can take.
        ask: makes one attempt, whose errors are those of `HttpClient`.
        suffices: whether a cached response is enough.
    """

    body: str
    cost: Cost
    largest: Callable[[], Exchange]
    ask: Callable[[], Awaitable[Exchange]]
    suffices: Callable[[Exchange], bool] = lambda exchange: True


class PaidClient:
    """Makes the calls to one endpoint, and owns its connections, event loop, response cache and budget.

    Args:
        http: the client of the endpoint.
        price: what a call costs; None where it is not known.
    """

    def __init__(self, http: HttpClient, price: Price | RerankPrice | None) -> None:
        self._http = http
        self._endpoint = http.endpoint
        self._price = price
        self._recording = Recording(self._endpoint.recording) if self._endpoint.recording else None
        self._account: Account | None = None
        self._runner = asyncio.Runner()
        self._broken: BackendError | None = None
        self._stop = asyncio.Event()
        self._free = asyncio.Semaphore(self._endpoint.concurrency)  # calls of all queries
        self.calls_replayed = 0

    def pay_from(self, budget: Budget) -> None:
        """Stop before calls could cost more than a budget has left; an endpoint of one's own costs nothing.

        Raises:
            InputError: the price of a call is not known.
        """
        if self._price is None and self._endpoint.price_example is not None:
            raise InputError(
                f"no price is listed for {self._endpoint.name}, so the budget cannot be kept. "
                f"Give the option price: {self._endpoint.price_example}"
            )
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
        free = asyncio.Semaphore(self._endpoint.concurrency)
        self._free = asyncio.Semaphore(self._endpoint.concurrency)
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

    async def post(self, body: bytes, stage: Stage, clock: StageClock) -> tuple[Any, dict[Stage, float]]:
        """Post a JSON body; the decoded response, and its seconds, all of one stage.

        Raises:
            the errors of `HttpClient.post`.
        """
        measured = Cost()
        with clock.stage(stage, measured):
            response = await self._http.post(body)
        return response, measured.stage_seconds

    def hidden(self, value: Any) -> Any:
        """Return a text, or a decoded JSON value, in which the key, however it is spelled, is hidden.

        The text of every exchange is hidden here; JSON is to be hidden before it is written as a text.
        """
        return hide_within(value, self._endpoint.key_variable, self._endpoint.key or "")

    async def answer(self, calls: Sequence[PaidCall], clock: StageClock, alone: bool) -> list[Exchange]:
        """Answer calls of one query that do not depend on each other, and charge them to it.

        Responses come from the response cache or the endpoint, up to `concurrency` at once. The seconds are
        those until the last answer, had no attempt failed. Stages of calls side by side share them.

        A query that runs alone has the clock corrected: a replayed answer takes its recorded time, and what
        was spent on failures and waits did not happen. Queries side by side share one clock, where only
        their own stages can be right.
        """
        started = clock.now()
        exchanges = await self._all_answered(calls)
        seconds = [sum(exchange.stage_seconds.values(), 0.0) for exchange in exchanges]
        total = _until_the_last(seconds, self._endpoint.concurrency)
        if alone:
            clock.advance(total - (clock.now() - started))
        share = total / sum(seconds) if len(calls) > 1 and total else 1.0
        for call, exchange in zip(calls, exchanges, strict=True):
            self._charge(call.cost, exchange, share)
        return exchanges

    def _charge(self, cost: Cost, exchange: Exchange, share: float) -> None:
        """Charge one call to its query, with a share of its seconds."""
        for stage, seconds in exchange.stage_seconds.items():
            cost.stage_seconds[stage] = cost.stage_seconds.get(stage, 0.0) + share * seconds
        usage = cost.usage
        usage.llm_calls += 1
        usage.prompt_tokens += exchange.prompt_tokens
        usage.cached_tokens += exchange.cached_tokens
        usage.generated_tokens += exchange.generated_tokens
        usage.reasoning_tokens += exchange.reasoning_tokens
        usage.calls_estimated += exchange.is_estimate
        usage.dollars += self._dollars(exchange)

    def _dollars(self, exchange: Exchange) -> float:
        """Return what a call costs, or did when it was recorded; 0 where no price is known."""
        return self._price.of(exchange) if self._price else 0.0

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
        key = self._recording.next_key(self._endpoint.shown_url, call.body)
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
            return await self._asked(call)
        async with self._account.bill(self._dollars(call.largest())) as bill:
            try:
                self._check_that_nothing_failed()  # while it waited for money
                exchange = await self._asked(call)
            except Exception as error:
                counted = error.exchange if isinstance(error, UnusableResponseError) else None
                if counted is not None:
                    bill.dollars, bill.is_estimate = self._dollars(counted), counted.is_estimate
                elif not may_be_billed(error):
                    bill.dollars, bill.is_estimate = 0.0, False
                raise
            bill.dollars, bill.is_estimate = self._dollars(exchange), exchange.is_estimate
        return exchange

    async def _asked(self, call: PaidCall) -> Exchange:
        exchange = await call.ask()
        exchange.text = self.hidden(exchange.text)
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
