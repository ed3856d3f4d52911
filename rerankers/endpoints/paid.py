"""The client of calls that may cost money: it looks each up in the cache, budgets, sends and charges it.

The connections and the bounds of a response are those of `rerankers.endpoints.client`; the waits between
attempts are those of `rerankers.endpoints.endpoint`.

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
    """One call for `PaidClient`: its request, who pays, and how to send it.

    Attributes:
        body: the request's canonical JSON, under which the response is cached.
        cost: cost of the rerank request that pays; it takes seconds, tokens and dollars.
        largest: returns the most tokens that one attempt can take.
        ask: makes one attempt, whose errors are those of `HttpClient`.
        suffices: whether a cached response can be used.
    """

    body: str
    cost: Cost
    largest: Callable[[], Exchange]
    ask: Callable[[], Awaitable[Exchange]]
    suffices: Callable[[Exchange], bool] = lambda exchange: True


class PaidClient:
    """A client that makes calls to one endpoint through a response cache and within a budget.

    It owns the connections, the event loop and the cache.

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
        """Charge calls to a budget from now on, and stop before one could cost more than it has left.

        Raises:
            InputError: the price of a call is not known; a server of one's own costs nothing.
        """
        if self._price is None and self._endpoint.price_example is not None:
            raise InputError(
                f"no price is listed for {self._endpoint.name}, so the budget cannot be kept. "
                f"Give the option price: {self._endpoint.price_example}"
            )
        self._account = Account(budget)

    def run(self, queries: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Run one coroutine a query, up to `concurrency` at once, and return their results in the same order.

        Raises:
            BackendError: the endpoint failed for good, now or in an earlier call. Its `finished` holds the
                results of the queries that were finished all the same.
        """
        if self._broken is not None:
            raise BackendError(str(self._broken)) from self._broken
        self._stop.clear()
        return self._runner.run(self._run(queries))

    async def _run(self, queries: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Run the queries inside the event loop.

        After the first error no further query begins, then raise it.
        """
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
        """Post a JSON body; return the decoded response, and the seconds it took, charged to one stage.

        Raises:
            the errors of `HttpClient.post`.
        """
        measured = Cost()
        with clock.stage(stage, measured):
            response = await self._http.post(body)
        return response, measured.stage_seconds

    def hidden(self, value: Any) -> Any:
        """Return a text or decoded JSON value in which the endpoint's key, in any spelling, is hidden.

        The text of every exchange is hidden here; JSON is to be hidden before it is written as a text.
        """
        return hide_within(value, self._endpoint.key_variable, self._endpoint.key or "")

    async def answer(self, calls: Sequence[PaidCall], clock: StageClock, alone: bool) -> list[Exchange]:
        """Answer independent calls of one query, from the cache or the endpoint, and charge each call's cost.

        Up to `concurrency` calls are sent at once. The seconds are those until the last answer, had no
        attempt failed; calls side by side share them.

        A query that runs alone has the clock corrected: a replayed answer takes its recorded time, and what
        was spent on failures and waits did not happen. Queries side by side share one clock, where only
        their own stages can be right.

        Args:
            calls: the calls.
            clock: read and, for a query that runs alone, corrected.
            alone: whether no other query runs at the same time.

        Returns:
            The exchange of each call, in the order of the calls.
        """
        started = clock.now()
        exchanges = await self._answer_all(calls)
        seconds = [sum(exchange.stage_seconds.values(), 0.0) for exchange in exchanges]
        total = _duration(seconds, self._endpoint.concurrency)
        if alone:
            clock.advance(total - (clock.now() - started))
        share = total / sum(seconds) if len(calls) > 1 and total else 1.0
        for call, exchange in zip(calls, exchanges, strict=True):
            self._charge(call.cost, exchange, share)
        return exchanges

    def _charge(self, cost: Cost, exchange: Exchange, share: float) -> None:
        """Add an exchange's tokens, dollars and `share` times its seconds to the cost of its query."""
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
        """Return the dollars that an exchange costs by the price of this client; 0 where none is known."""
        return self._price.of(exchange) if self._price else 0.0

    async def _answer_all(self, calls: Sequence[PaidCall]) -> list[Exchange]:
        """Return the exchange of each call, in the order of the calls.

        Once one fails for good, none begins.
        """
        failures: list[Exception] = []

        async def answer(call: PaidCall) -> Exchange | None:
            async with self._free:
                try:
                    if failures:
                        return None
                    return await self._replay_or_ask(call)
                except Exception as error:
                    failures.append(error)
                    self._stop.set()
                    return None

        exchanges = await asyncio.gather(*map(answer, calls))
        if failures:
            raise failures[0]
        return [exchange for exchange in exchanges if exchange is not None]

    async def _replay_or_ask(self, call: PaidCall) -> Exchange:
        """Return the call's exchange from the response cache, or send the call and cache what comes back."""
        if self._recording is None:
            return await self._ask(call)
        key = self._recording.next_key(self._endpoint.shown_url, call.body)
        cached = self._recording.find(key)
        if cached is None or not call.suffices(cached):
            async with self._recording.claim(key):
                cached = self._recording.find(key)  # another process may have asked meanwhile
                if cached is None or not call.suffices(cached):
                    exchange = await self._ask(call)
                    self._recording.add(key, exchange)
                    return exchange
        self.calls_replayed += 1
        call.cost.usage.calls_replayed += 1
        return cached

    async def _ask(self, call: PaidCall) -> Exchange:
        """Send a call until an attempt succeeds, and return its exchange.

        Every attempt is paid from the budget.

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
        """Raise a `BackendError` if another query has failed for good."""
        if self._stop.is_set():
            raise BackendError(f"{self._endpoint.name} is asked no further; another query failed")

    async def _attempt(self, call: PaidCall) -> Exchange:
        """Make one attempt at a call and return its exchange.

        Set its largest cost aside before, settle it after.
        """
        if self._account is None:
            return await self._send_redacted(call)
        async with self._account.bill(self._dollars(call.largest())) as bill:
            try:
                self._check_that_nothing_failed()  # while it waited for money
                exchange = await self._send_redacted(call)
            except Exception as error:
                counted = error.exchange if isinstance(error, UnusableResponseError) else None
                if counted is not None:
                    bill.dollars, bill.is_estimate = self._dollars(counted), counted.is_estimate
                elif not may_be_billed(error):
                    bill.dollars, bill.is_estimate = 0.0, False
                raise
            bill.dollars, bill.is_estimate = self._dollars(exchange), exchange.is_estimate
        return exchange

    async def _send_redacted(self, call: PaidCall) -> Exchange:
        """Make one attempt at a call and return its exchange, the key hidden in its text."""
        exchange = await call.ask()
        exchange.text = self.hidden(exchange.text)
        return exchange

    def close(self) -> None:
        """Close the connections, the event loop and the response cache."""
        if self._http.is_closed:
            return
        self._runner.run(self._http.close())
        self._runner.close()
        if self._recording:
            self._recording.close()


def _duration(seconds: Sequence[float], at_once: int) -> float:
    """Return the seconds until the last of some calls ends, of which up to `at_once` run side by side.

    Args:
        seconds: of each call, in the order in which they begin.
        at_once: how many run at the same time.
    """
    ends: list[float] = []
    for duration in seconds:
        begins = heapq.heappop(ends) if len(ends) == at_once else 0.0
        heapq.heappush(ends, begins + duration)
    return max(ends, default=0.0)
