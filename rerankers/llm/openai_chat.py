"""Chat models behind any endpoint that speaks OpenAI's chat API: OpenAI, vLLM, SGLang, llama.cpp, and others.

One client with its connection pool, and one event loop for it, live as long as the backend. Queries run
concurrently, the calls of one query one after the other. Retries are made here rather than in the client, so
that neither failed attempts nor the waits between them count as latency.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING, Any, cast

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rerankers.errors import BackendError, InputError
from rerankers.interface import Cost
from rerankers.llm.chat import ChatAnswer, ChatBackend, ChatCall, ChatSettings, T, Talk
from rerankers.llm.failures import PASSING, UnusableAnswerError, is_content_filter, reason, wait_before_retry
from rerankers.llm.prices import Budget, find_price
from rerankers.llm.reading import (
    ESTIMATED,
    count_tokens,
    end_of,
    estimate_prompt,
    identify,
    latest_of,
    piece_of,
)
from rerankers.llm.recording import Exchange, Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.stages import StageClock

# The client's own method for it checks each message again, which costs more than all else (25 ms for 44).
_PATH = "/chat/completions"
_TOKENS_PER_MESSAGE = 8  # more than chat templates put around a message


class OpenAIChat(ChatBackend):
    """Answers calls through an endpoint; the key is read from `OPENAI_API_KEY` and never leaves the client.

    Raises:
        InputError: neither a key nor a base URL nor a recording is set; a budget without a price.
    """

    def __init__(self, settings: ChatSettings) -> None:
        base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL") or None
        key = os.environ.get("OPENAI_API_KEY") or None
        if key is None and base_url is None and settings.recording is None:
            raise InputError("set OPENAI_API_KEY, or give the base_url of an endpoint that needs no key")
        self._settings = settings
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=key or "none", timeout=settings.timeout_seconds, max_retries=0
        )
        self._url = str(self._client.base_url.copy_with(userinfo=b"", query=None))
        self._endpoint = f"{self._client.base_url.host} (model {settings.model!r})"
        self._is_openai = base_url is None
        self._price = find_price(settings.model)
        self._budget = (
            Budget(settings.budget_dollars, self._price, settings.model)
            if settings.budget_dollars is not None
            else None
        )
        self._recording = Recording(settings.recording) if settings.recording else None
        self._runner = asyncio.Runner()
        self._broken: BackendError | None = None
        self._reports_stream_usage = True
        self._served_models: set[str] = set()
        self._fingerprints: set[str] = set()
        self._counted_by = "the endpoint"
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

    def describe(self) -> dict[str, object]:
        """Endpoint, model and price as asked, what the endpoint said it served, who counted the tokens."""
        return {
            "backend": "openai",
            "endpoint": self._url,
            "model": self._settings.model,
            "served_models": sorted(self._served_models),
            "system_fingerprints": sorted(self._fingerprints),
            "tokens_counted_by": self._counted_by,
            "calls_replayed": self._replayed,
            "concurrency": self._settings.concurrency,
            "dollars_per_million_tokens": self._price.describe() if self._price else None,
        }

    def close(self) -> None:
        """Close connections, the event loop and the recording."""
        if not self._client.is_closed():
            self._runner.run(self._client.close())
            self._runner.close()
            if self._recording:
                self._recording.close()

    async def _run(self, talks: Sequence[Talk[T]], clock: StageClock) -> list[T]:
        free = asyncio.Semaphore(self._settings.concurrency)
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
        body = self._body(call)
        key = self._recording.next_key(self._url, body) if self._recording else None
        exchange = self._recording.find(key) if self._recording and key else None
        if exchange is not None and (exchange.end != "known" or call.known(exchange.text)):
            self._replayed += 1
            if alone:
                clock.advance(sum(exchange.stage_seconds.values()))
        else:
            started = clock.now()
            exchange = await self._ask_within_budget(call, body, clock)
            if self._recording and key:
                self._recording.add(key, exchange)
            if alone:
                clock.advance(sum(exchange.stage_seconds.values()) - (clock.now() - started))
        self._book(call, exchange)
        return ChatAnswer(exchange.text, exchange.end)

    async def _ask_within_budget(self, call: ChatCall, body: dict[str, Any], clock: StageClock) -> Exchange:
        if self._budget is None:
            return await self._ask_until_answered(call, body, clock)
        longest = sum(len(message["content"].encode()) + _TOKENS_PER_MESSAGE for message in call.messages)
        reserved = await self._budget.reserve(longest, call.max_new_tokens)
        exchange = Exchange()
        try:
            exchange = await self._ask_until_answered(call, body, clock)
        finally:
            counts = exchange.prompt_tokens, exchange.cached_tokens, exchange.generated_tokens
            await self._budget.settle(reserved, *counts)
        return exchange

    async def _ask_until_answered(self, call: ChatCall, body: dict[str, Any], clock: StageClock) -> Exchange:
        for failures in itertools.count(1):
            try:
                ask = self._stream if self._settings.stream else self._complete
                return await ask(call, body, clock)
            except PASSING as error:
                if is_content_filter(error):
                    break
                if body.get("stream_options") and "stream_options" in reason(error):
                    self._reports_stream_usage = False  # the server does not know the option: ask without
                    del body["stream_options"]
                    continue
                wait = wait_before_retry(error, failures, self._settings.retries, self._endpoint)
            await asyncio.sleep(wait)
        return Exchange(end="refused", prompt_tokens=estimate_prompt(call), counted_by=ESTIMATED)

    def _body(self, call: ChatCall) -> dict[str, Any]:
        # OpenAI's own newer models refuse `max_tokens`; many other servers know nothing else.
        limit = "max_completion_tokens" if self._is_openai else "max_tokens"
        body = {"model": self._settings.model, "messages": list(call.messages), limit: call.max_new_tokens}
        if self._settings.temperature is not None:
            body["temperature"] = self._settings.temperature
        if self._settings.stream:
            body["stream"] = True
            if self._reports_stream_usage:
                # Usage with every chunk, where a server offers it, survives ending the answer early.
                continuous = {} if self._is_openai else {"continuous_usage_stats": True}
                body["stream_options"] = {"include_usage": True, **continuous}
        return body

    async def _complete(self, call: ChatCall, body: dict[str, Any], clock: StageClock) -> Exchange:
        measured = Cost()
        with clock.stage("generate", measured):
            completion: Any = await self._client.post(_PATH, cast_to=ChatCompletion, body=body)
        exchange = Exchange(stage_seconds=measured.stage_seconds)
        try:  # the client validates nothing: what is not a chat completion comes as it is
            choice = completion.choices[0]
            exchange.text = choice.message.content or ""
            exchange.end = end_of(choice.finish_reason, choice.message.refusal)
            identify(exchange, completion)
        except (AttributeError, IndexError, TypeError) as error:
            raise UnusableAnswerError(f"no chat completion in {str(completion)[:100]!r}") from error
        count_tokens(exchange, call, completion.usage)
        return exchange

    async def _stream(self, call: ChatCall, body: dict[str, Any], clock: StageClock) -> Exchange:
        """Prefill lasts until the first token, decode from there; the answer ends once it is known."""
        measured, exchange = Cost(), Exchange()
        usage: Any = None
        finish = refusal = None
        pieces = 0
        with clock.stage("prefill", measured):
            stream: Any = await self._client.post(
                _PATH,
                cast_to=ChatCompletion,
                body=body,
                stream=True,
                stream_cls=openai.AsyncStream[ChatCompletionChunk],
            )
            if not hasattr(stream, "__aiter__"):
                raise UnusableAnswerError(f"no stream of chunks in {str(stream)[:100]!r}")
            chunks = aiter(stream)
            first = await anext(chunks, None)
            while first is not None and not piece_of(first):
                usage, finish = latest_of(first, usage, finish)
                first = await anext(chunks, None)
        with clock.stage("decode", measured):
            chunk = first
            while chunk is not None:
                usage, finish = latest_of(chunk, usage, finish)
                identify(exchange, chunk)
                pieces += bool(piece_of(chunk))
                if chunk.choices:
                    delta = chunk.choices[0].delta
                    exchange.text += delta.content or ""
                    refusal = getattr(delta, "refusal", None) or refusal
                if finish is None and call.known(exchange.text):
                    finish = "known"
                    break
                chunk = await anext(chunks, None)
            await stream.close()
        if finish is None:
            raise UnusableAnswerError("the stream ended before the answer did")
        exchange.end = "known" if finish == "known" else end_of(finish, refusal)
        exchange.stage_seconds = measured.stage_seconds
        count_tokens(exchange, call, usage, pieces)
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
        if exchange.counted_by != "the endpoint":
            self._counted_by = exchange.counted_by
        self._served_models.update(filter(None, [exchange.served_model]))
        self._fingerprints.update(filter(None, [exchange.fingerprint]))
