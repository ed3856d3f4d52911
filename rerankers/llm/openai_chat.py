"""Chat models behind any endpoint that speaks OpenAI's chat API: OpenAI, vLLM, SGLang, llama.cpp, and others.

One client with its connection pool, and one event loop for it, live as long as the backend. Queries run
concurrently, the calls of one query one after the other. Retries are made here rather than in the client, so
that waiting between attempts is charged to no stage.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from typing import TYPE_CHECKING, Any, cast

import openai

from rerankers.errors import BackendError, InputError
from rerankers.llm.chat import ChatAnswer, ChatBackend, ChatCall, ChatSettings, Message, T, Talk
from rerankers.llm.failures import PASSING, UnusableAnswerError, is_content_filter, wait_before_retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai.types import CompletionUsage

    from rerankers.stages import StageClock

_BYTES_PER_TOKEN = 4  # rule of thumb for English, used only where an endpoint reports no usage


class OpenAIChat(ChatBackend):
    """Answers calls through an endpoint; the key is read from `OPENAI_API_KEY` and never leaves the client.

    Raises:
        InputError: neither a key nor a base URL is set.
    """

    def __init__(self, settings: ChatSettings) -> None:
        base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL") or None
        key = os.environ.get("OPENAI_API_KEY") or None
        if key is None and base_url is None:
            raise InputError("set OPENAI_API_KEY, or give the base_url of an endpoint that needs no key")
        self._settings = settings
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=key or "none", timeout=settings.timeout_seconds, max_retries=0
        )
        self._endpoint = f"{self._client.base_url.host} (model {settings.model!r})"
        # OpenAI's own newer models refuse `max_tokens`; many other servers know nothing else.
        self._limit_name = "max_completion_tokens" if base_url is None else "max_tokens"
        self._runner = asyncio.Runner()
        self._broken: BackendError | None = None
        self._served_models: set[str] = set()
        self._fingerprints: set[str] = set()
        self._counted_by = "the endpoint"

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
        """Endpoint and model as asked, what the endpoint said it served, and who counted the tokens."""
        url = self._client.base_url.copy_with(userinfo=b"", query=None)
        return {
            "backend": "openai",
            "endpoint": str(url),
            "model": self._settings.model,
            "served_models": sorted(self._served_models),
            "system_fingerprints": sorted(self._fingerprints),
            "tokens_counted_by": self._counted_by,
            "concurrency": self._settings.concurrency,
        }

    def close(self) -> None:
        """Close connections and the event loop."""
        if not self._client.is_closed():
            self._runner.run(self._client.close())
            self._runner.close()

    async def _run(self, talks: Sequence[Talk[T]], clock: StageClock) -> list[T]:
        free = asyncio.Semaphore(self._settings.concurrency)

        async def drive(talk: Talk[T]) -> T:
            async with free:
                try:
                    call = next(talk)
                    while True:
                        call = talk.send(await self._answer(call, clock))
                except StopIteration as finished:
                    return cast("T", finished.value)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(drive(talk)) for talk in talks]
        return [task.result() for task in tasks]

    async def _answer(self, call: ChatCall, clock: StageClock) -> ChatAnswer:
        """Ask until there is an answer. Only the attempt that succeeds is charged to the query's stages."""
        for failures in itertools.count(1):
            try:
                with clock.stage("generate", call.cost):
                    answer, usage = await self._ask(call)
                break
            except PASSING as error:
                if is_content_filter(error):
                    answer, usage = ChatAnswer("", "refused"), None
                    break
                wait = wait_before_retry(error, failures, self._settings.retries, self._endpoint)
            await asyncio.sleep(wait)
        self._count(call, answer.text, usage)
        return answer

    async def _ask(self, call: ChatCall) -> tuple[ChatAnswer, CompletionUsage | None]:
        options: dict[str, Any] = {self._limit_name: call.max_new_tokens}
        if self._settings.temperature is not None:
            options["temperature"] = self._settings.temperature
        completion: Any = await self._client.chat.completions.create(
            model=self._settings.model, messages=cast("Any", call.messages), **options
        )
        try:  # the client validates nothing: what is not a chat completion comes as it is
            choice = completion.choices[0]
            text, end = choice.message.content or "", choice.finish_reason
            refused = end == "content_filter" or bool(choice.message.refusal)
            self._served_models.add(str(completion.model))
            if completion.system_fingerprint:
                self._fingerprints.add(str(completion.system_fingerprint))
        except (AttributeError, IndexError, TypeError) as error:
            raise UnusableAnswerError(f"no chat completion in {str(completion)[:100]!r}") from error
        if refused:
            return ChatAnswer(text, "refused"), completion.usage
        return ChatAnswer(text, "cut_off" if end == "length" else "done"), completion.usage

    def _count(self, call: ChatCall, text: str, reported: CompletionUsage | None) -> None:
        usage = call.cost.usage
        usage.llm_calls += 1
        if reported is None:
            self._counted_by = f"an estimate of {_BYTES_PER_TOKEN} bytes a token"
            usage.prompt_tokens += _estimate(call.messages)
            usage.generated_tokens += _estimate([{"role": "assistant", "content": text}])
            return
        usage.prompt_tokens += reported.prompt_tokens
        usage.generated_tokens += reported.completion_tokens
        details = reported.prompt_tokens_details
        usage.cached_tokens += (details.cached_tokens or 0) if details else 0


def _estimate(messages: Sequence[Message]) -> int:
    return math.ceil(sum(len(message["content"].encode()) for message in messages) / _BYTES_PER_TOKEN)
