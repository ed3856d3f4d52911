"""Chat models behind any endpoint that speaks OpenAI's chat API: OpenAI, vLLM, SGLang, llama.cpp, and others.

One client with its connection pool, and one event loop for it, live as long as the backend. Queries run
concurrently, the calls of one query one after the other. Neither failed attempts nor the waits between them
count as latency.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import httpx
import httpx2
import openai

from rerankers.errors import BackendError, InputError
from rerankers.http_retry import PASSING, Endpoint, error_code, reason
from rerankers.interface import Cost
from rerankers.llm.chat import ChatAnswer, ChatBackend, ChatCall, T, Talk
from rerankers.llm.prices import Account, find_price
from rerankers.llm.reading import GrowingAnswer, read_completion, refused
from rerankers.llm.recording import BY_ENDPOINT, Exchange, Recording, canonical
from rerankers.llm.thinking import after_thoughts, answers_after_thoughts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerankers.llm.options import ChatOptions
    from rerankers.llm.prices import Budget
    from rerankers.stages import StageClock

_OPENAI_URL = "https://api.openai.com/v1"
_PATH = "/chat/completions"  # the client's own method for it checks each message again, which costs most
_KEY = "OPENAI_API_KEY"
_FILTER_RETRIES = 2  # of a prompt that a content filter refused, which costs nothing
_TOKENS_PER_MESSAGE = 8  # more than chat templates put around a message


class OpenAIChat(ChatBackend):
    """Answers calls through an endpoint; the key is read from `OPENAI_API_KEY` and never leaves the client.

    Raises:
        InputError: neither a key nor a base URL nor a recording is set, or the URL is none.
    """

    def __init__(self, options: ChatOptions) -> None:
        base_url = options.base_url or os.environ.get("OPENAI_BASE_URL") or None
        key = os.environ.get(_KEY) or None
        if key is None and base_url is None and options.recording is None:
            raise InputError(f"set {_KEY}, or give the base_url of an endpoint that needs no key")
        self._options = options
        self._is_openai = base_url is None
        url = _parsed(base_url or _OPENAI_URL)
        at_once = options.concurrency
        limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        self._client = openai.AsyncOpenAI(
            base_url=str(url),
            api_key=key or "none",
            max_retries=0,
            timeout=options.timeout_seconds,
            http_client=openai.DefaultAsyncHttpxClient(limits=limits),
        )
        self._url = str(url.copy_with(userinfo=b"", query=None))
        name = f"{url.host} (model {options.model!r})"
        where = "the model's name and base_url (it usually ends in /v1)"
        self._endpoint = Endpoint(name, _KEY, where, options.retries)
        self._price = options.price or find_price(options.model)
        self._account: Account | None = None
        self._recording = Recording(options.recording) if options.recording else None
        self._runner = asyncio.Runner()
        self._broken: BackendError | None = None
        self._reports_stream_usage = True
        self._served_models: set[str] = set()
        self._fingerprints: set[str] = set()
        self._counted_by = BY_ENDPOINT
        self._replayed = 0

    def run(self, talks: Sequence[Talk[T]], clock: StageClock) -> list[T]:
        """Drive up to `concurrency` talks at once. The first failure for good ends them all."""
        if self._broken is not None:
            raise self._broken
        try:
            return self._runner.run(self._run(talks, clock))
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
            self._broken = first if isinstance(first, BackendError) else None
            raise first from first.__cause__

    def pay_from(self, budget: Budget) -> None:
        """Stop before calls could cost more than a budget has left."""
        if self._price is None:
            raise InputError(
                f"no price is listed for {self._options.model!r}, so the budget cannot be kept; give the "
                "option price: {input: 0.5, cached: 0.5, output: 1.5}, in dollars per million tokens"
            )
        self._account = Account(budget)

    def describe(self) -> dict[str, object]:
        """Endpoint, model and price as asked, what the endpoint said it served, who counted the tokens."""
        return {
            "backend": "openai",
            "endpoint": self._url,
            "model": self._options.model,
            "served_models": sorted(self._served_models),
            "system_fingerprints": sorted(self._fingerprints),
            "tokens_counted_by": self._counted_by,
            "calls_replayed": self._replayed,
            "concurrency": self._options.concurrency,
            "dollars_per_million_tokens": self._price.model_dump() if self._price else None,
        }

    def close(self) -> None:
        """Close connections, the event loop and the recording."""
        if not self._client.is_closed():
            self._runner.run(self._client.close())
            self._runner.close()
            if self._recording:
                self._recording.close()

    async def _run(self, talks: Sequence[Talk[T]], clock: StageClock) -> list[T]:
        free = asyncio.Semaphore(self._options.concurrency)
        alone = len(talks) == 1

        async def drive(talk: Talk[T]) -> T:
            async with free:
                try:
                    call = next(talk)
                    while True:
                        call = talk.send(await self._answer(call, clock, alone))
                except StopIteration as finished:
                    return cast("T", finished.value)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(drive(talk)) for talk in talks]
        return [task.result() for task in tasks]

    async def _answer(self, call: ChatCall, clock: StageClock, alone: bool) -> ChatAnswer:
        """Answer from the recording or the endpoint, and charge the query with the seconds of the answer.

        A query that runs alone has the clock corrected: a replayed answer takes its recorded time, and what
        was spent on failures and waits did not happen. Queries side by side share one clock, where only
        their own stages can be right.
        """
        if self._options.reasoning_tokens:
            call = answers_after_thoughts(call)
        body = self._body(call)
        written = canonical(body)
        key = self._recording.next_key(self._url, written) if self._recording else None
        exchange = self._recording.find(key) if self._recording and key else None
        if exchange is not None and (exchange.end != "known" or call.known(exchange.text)):
            self._replayed += 1
            call.cost.usage.calls_replayed += 1
            if alone:
                clock.advance(sum(exchange.stage_seconds.values()))
        else:
            started = clock.now()
            exchange = await self._ask_within_budget(call, written, clock)
            if self._recording and key:
                self._recording.add(key, exchange)
            if alone:
                clock.advance(sum(exchange.stage_seconds.values()) - (clock.now() - started))
        self._book(call, exchange)
        text = after_thoughts(exchange.text) if self._options.reasoning_tokens else exchange.text
        return ChatAnswer(text, exchange.end)

    async def _ask_within_budget(self, call: ChatCall, body: str, clock: StageClock) -> Exchange:
        """Ask once the most that the call can cost is set aside."""
        if self._account is None or self._price is None:
            return await self._ask_until_answered(call, body, clock)
        longest = sum(
            len(message["content"].encode(errors="replace")) + _TOKENS_PER_MESSAGE
            for message in call.messages
        )
        most = self._price.dollars(longest, 0, self._limit(call))
        async with self._account.bill(most) as bill:
            exchange = await self._ask_until_answered(call, body, clock)
            bill.dollars = self._dollars(exchange)
        return exchange

    async def _ask_until_answered(self, call: ChatCall, body: str, clock: StageClock) -> Exchange:
        filtered = 0
        for failures in itertools.count(1):
            asks_usage = self._options.stream and self._reports_stream_usage
            try:
                ask = self._stream if self._options.stream else self._complete
                with _known_errors():
                    return await ask(call, body, clock)
            except PASSING as error:
                if error_code(error) == "content_filter":  # filters are models too: they waver
                    filtered += 1
                    if filtered > _FILTER_RETRIES:
                        return refused(call)
                    call.cost.usage.retries += 1
                    continue
                if asks_usage and "stream_options" in reason(error):
                    self._reports_stream_usage = False  # the server does not know the option: ask without
                    continue
                wait = self._endpoint.wait_before_retry(error, failures)
            call.cost.usage.retries += 1
            await asyncio.sleep(wait)
        raise AssertionError  # the loop has no end

    def _body(self, call: ChatCall) -> dict[str, Any]:
        # OpenAI's own newer models refuse `max_tokens`; many other servers know nothing else.
        limit = "max_completion_tokens" if self._is_openai else "max_tokens"
        body = {"model": self._options.model, "messages": call.messages, limit: self._limit(call)}
        if self._options.temperature is not None:
            body["temperature"] = self._options.temperature
        if self._options.stream:
            body["stream"] = True
        return {**self._options.extra_body, **body}

    def _limit(self, call: ChatCall) -> int:
        """Return the most tokens that an answer may have, thoughts included."""
        return call.max_new_tokens + self._options.reasoning_tokens

    async def _complete(self, call: ChatCall, body: str, clock: StageClock) -> Exchange:
        measured = Cost()
        with clock.stage("generate", measured):
            response = await self._client.post(_PATH, content=body.encode(), cast_to=httpx2.Response)
        exchange = read_completion(response.json(), call)
        exchange.stage_seconds = measured.stage_seconds
        return exchange

    async def _stream(self, call: ChatCall, body: str, clock: StageClock) -> Exchange:
        """Prefill lasts until the first token, decode from there; the answer ends once it is known."""
        measured, answer = Cost(), GrowingAnswer(call)
        if self._reports_stream_usage:
            # Usage with every chunk, where a server offers it, survives ending the answer early.
            continuous = {} if self._is_openai else {"continuous_usage_stats": True}
            body = json.dumps({**json.loads(body), "stream_options": {"include_usage": True, **continuous}})
        with clock.stage("prefill", measured):
            streaming: bool = True  # the response as it is, not the client's stream of checked objects
            response = await self._client.post(
                _PATH, content=body.encode(), cast_to=httpx2.Response, stream=streaming
            )
            assert isinstance(response, httpx2.Response)  # noqa: S101 - what was asked for
            try:
                lines = response.aiter_lines()
                while not answer.has_begun and await _next_chunk(lines, answer):
                    pass
            except BaseException:
                await response.aclose()
                raise
        try:
            with clock.stage("decode", measured):
                while not answer.is_known and await _next_chunk(lines, answer):
                    pass
        finally:
            await response.aclose()
        exchange = answer.finish()
        exchange.stage_seconds = measured.stage_seconds
        return exchange

    def _book(self, call: ChatCall, exchange: Exchange) -> None:
        """Charge the query; remember who answered."""
        for stage, seconds in exchange.stage_seconds.items():
            call.cost.stage_seconds[stage] = call.cost.stage_seconds.get(stage, 0.0) + seconds
        usage = call.cost.usage
        usage.llm_calls += 1
        usage.prompt_tokens += exchange.prompt_tokens
        usage.cached_tokens += exchange.cached_tokens
        usage.generated_tokens += exchange.generated_tokens
        usage.reasoning_tokens += exchange.reasoning_tokens
        usage.dollars += self._dollars(exchange)
        if exchange.counted_by != BY_ENDPOINT:
            usage.calls_estimated += 1
            self._counted_by = exchange.counted_by
        self._served_models.update(filter(None, [exchange.served_model]))
        self._fingerprints.update(filter(None, [exchange.fingerprint]))

    def _dollars(self, exchange: Exchange) -> float:
        """What the call costs, or did when it was recorded; 0 where no price is known."""
        counts = exchange.prompt_tokens, exchange.cached_tokens, exchange.generated_tokens
        return self._price.dollars(*counts) if self._price else 0.0


def _parsed(base_url: str) -> httpx.URL:
    """The root of an API, with a slash at its end."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise InputError(f"base_url {base_url!r} is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise InputError(f"base_url {base_url!r} has no scheme or host; write it as http://localhost:8000/v1")
    return url.copy_with(path=url.path.rstrip("/") + "/")


@contextmanager
def _known_errors() -> Iterator[None]:
    """Errors of the client, which has an HTTP library of its own, as `rerankers.http_retry` knows them."""
    try:
        yield
    except openai.APIStatusError as error:
        answer = error.response
        wait = {name: value for name, value in answer.headers.items() if name.lower() == "retry-after"}
        known = httpx.Response(answer.status_code, headers=wait, content=answer.content)
        request = httpx.Request(answer.request.method, str(answer.request.url))
        raise httpx.HTTPStatusError(str(error), request=request, response=known) from error
    except (openai.APIConnectionError, httpx2.HTTPError) as error:
        cause = error.__cause__ or error
        raise httpx.TransportError(str(cause) or type(cause).__name__) from error


async def _next_chunk(lines: Any, answer: GrowingAnswer) -> bool:
    """Read the server-sent events up to the next chunk; False where they end."""
    async for line in lines:
        field, _, value = line.partition(":")
        if field == "data":
            if value.strip() == "[DONE]":
                return False
            answer.add(json.loads(value))
            return True
    return False
