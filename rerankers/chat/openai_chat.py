"""A chat backend for any endpoint with OpenAI's chat API: OpenAI, vLLM, SGLang, llama.cpp, and others.

One client with its connection pool, and one event loop for it, live as long as the backend. Queries run
concurrently, and so do calls of one query that do not depend on each other. Neither failed attempts nor the
waits between them count as latency.
"""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from rerankers.chat.accepted_options import AcceptedOptions
from rerankers.chat.completions import GrowingCompletion, read_completion, refused
from rerankers.chat.conversation import ChatBackend, ChatCall, ChatCompletion, Conversation, T, count_round
from rerankers.chat.openai_client import OpenAIClient
from rerankers.chat.thinking import after_thoughts, answers_after_thoughts
from rerankers.endpoints.client import lines
from rerankers.endpoints.endpoint import Endpoint, address
from rerankers.endpoints.exchange import BY_ENDPOINT, Exchange, canonical
from rerankers.endpoints.failures import StatusError
from rerankers.endpoints.keys import read_key
from rerankers.endpoints.paid import PaidCall, PaidClient
from rerankers.endpoints.prices import find_price
from rerankers.errors import InputError
from rerankers.interface import Cost
from rerankers.methods.chat import CHAT_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rerankers.endpoints.prices import Budget
    from rerankers.methods.chat import ChatOptions
    from rerankers.stages import StageClock

_OPENAI_URL = "https://api.openai.com/v1"
_PATH = "/chat/completions"
_PRICE_EXAMPLE = "{input: 0.5, cached: 0.5, output: 1.5}, in dollars per million tokens"
_FILTER_RETRIES = 2  # of a prompt that a content filter refused, which costs nothing
_TOKENS_PER_MESSAGE = 8  # more than chat templates put around a message
_STREAM_BYTES_PER_TOKEN = 2**10  # more than a chunk has around a token
_CHUNKS_UNTIL_USAGE = 8  # read on for the count of a stream whose answer is known, if it ends as soon
_MOST_NAMES = 20  # of models and fingerprints, in the record


class OpenAIChat(ChatBackend):
    """A chat backend that calls an endpoint.

    The key is read from `OPENAI_API_KEY` and never leaves the client.

    Raises:
        InputError: neither a key nor a base URL nor a response cache is set, or the key or the URL is
            malformed.
    """

    def __init__(self, options: ChatOptions) -> None:
        base_url = options.base_url or os.environ.get("OPENAI_BASE_URL") or None
        key = read_key(CHAT_KEY)
        if key is None and base_url is None and options.recording is None:
            raise InputError(f"set {CHAT_KEY}, or give the base_url of an endpoint that needs no key")
        self._options = options
        is_openai = base_url is None
        url = address("base_url", base_url or _OPENAI_URL, _PATH)
        root = url.copy_with(userinfo=b"", query=None, path=url.path.removesuffix(_PATH.removeprefix("/")))
        self._endpoint = Endpoint(
            url=url,
            shown_url=str(root),
            name=f"{url.host} (model {options.model!r})",
            settings="the model's name and base_url (it usually ends in /v1)",
            key_variable=CHAT_KEY,
            key=key,
            timeout_seconds=options.timeout_seconds,
            retries=options.retries,
            concurrency=options.concurrency,
            recording=options.recording,
            price_example=_PRICE_EXAMPLE,
        )
        self._http = OpenAIClient(self._endpoint, names_organization=is_openai)
        self._price = options.price or find_price(options.model)
        self._client = PaidClient(self._http, self._price)
        # OpenAI's own newer models refuse `max_tokens`; many other servers know nothing else.
        self._limit = "max_completion_tokens" if is_openai else "max_tokens"
        # Usage with every chunk, where a server offers it, survives ending the answer early.
        stream_options = {"include_usage": True, **({} if is_openai else {"continuous_usage_stats": True})}
        self._accepted = AcceptedOptions(self._limit, stream_options if options.stream else None)
        self._served_models: set[str] = set()
        self._fingerprints: set[str] = set()
        self._counted_by = BY_ENDPOINT

    def run(self, conversations: Sequence[Conversation[T]], clock: StageClock) -> list[T]:
        """Drive every conversation to its end, and return their results in the same order.

        Up to `concurrency` of them are open at once; after a failure for good, no further call begins.
        """
        alone = len(conversations) == 1
        return self._client.run(
            [partial(self._drive, conversation, clock, alone) for conversation in conversations]
        )

    def pay_from(self, budget: Budget) -> None:
        """Charge calls to a budget from now on, and stop before one could cost more than it has left."""
        self._client.pay_from(budget)

    def describe(self) -> dict[str, object]:
        """Return the record's entry: request settings, models served, refused options, token counter."""
        left_out = sorted(self._accepted.refused)
        notice = {"notice": "the endpoint refuses a temperature: its answers are drawn at random"}
        return {
            "backend": "openai",
            "endpoint": self._endpoint.shown_url,
            "model": self._options.model,
            "served_models": sorted(self._served_models),
            "system_fingerprints": sorted(self._fingerprints),
            "tokens_counted_by": self._counted_by,
            "calls_replayed": self._client.calls_replayed,
            "concurrency": self._options.concurrency,
            "dollars_per_million_tokens": self._price.model_dump() if self._price else None,
            **({"options_refused": left_out} if left_out else {}),
            **(notice if "temperature" in left_out else {}),
        }

    def close(self) -> None:
        """Close the connections, the event loop and the response cache."""
        self._client.close()

    async def _drive(self, conversation: Conversation[T], clock: StageClock, alone: bool) -> T:
        """Drive one conversation to its end, and return its result.

        Args:
            conversation: the conversation.
            clock: times the calls.
            alone: whether no other conversation runs at the same time.
        """
        try:
            calls = next(conversation)
            while True:
                count_round(calls)
                calls = conversation.send(await self._answer(calls, clock, alone))
        except StopIteration as finished:
            return cast("T", finished.value)

    async def _answer(
        self, calls: Sequence[ChatCall], clock: StageClock, alone: bool
    ) -> list[ChatCompletion]:
        """Answer the calls of a round concurrently; the answers hold no thoughts."""
        if self._options.reasoning_tokens:
            calls = [answers_after_thoughts(call) for call in calls]
        exchanges = await self._client.answer([self._paid(call, clock) for call in calls], clock, alone)
        answers = []
        for exchange in exchanges:
            self._note(exchange)
            text = after_thoughts(exchange.text) if self._options.reasoning_tokens else exchange.text
            tokens = exchange.generated_tokens - exchange.reasoning_tokens
            answers.append(ChatCompletion(text, exchange.end, max(0, tokens)))
        return answers

    def _paid(self, call: ChatCall, clock: StageClock) -> PaidCall:
        """Return a call in the form of the paid client: request body, largest cost and sender."""
        body = self._body(call)
        written = canonical(body)
        return PaidCall(
            body=written,
            cost=call.cost,
            largest=partial(self._largest, call),
            ask=partial(self._ask, call, body, written, clock),
            suffices=lambda cached: cached.end != "known" or call.stop_condition(cached.text),
        )

    def _body(self, call: ChatCall) -> dict[str, Any]:
        """Return the request body by the options alone, as the response cache files it."""
        body = {
            "model": self._options.model,
            "messages": call.messages,
            self._limit: self._most_tokens(call),
        }
        if self._options.temperature is not None:
            body["temperature"] = self._options.temperature
        if self._options.stream:
            body["stream"] = True
        return {**self._options.extra_body, **body}

    def _most_tokens(self, call: ChatCall) -> int:
        """Return the most tokens that a completion may have, thoughts included."""
        return call.max_new_tokens + self._options.reasoning_tokens

    async def _ask(self, call: ChatCall, body: dict[str, Any], written: str, clock: StageClock) -> Exchange:
        """Send one request and return its exchange; if an option is refused, send it again without.

        A prompt that a content filter refuses is sent up to two more times, then counts as refused.

        Args:
            call: the call to answer.
            body: its request body.
            written: the body as canonical JSON.
            clock: times the attempt.
        """
        filtered = 0
        while True:
            sent = self._accepted.rewrite(body)
            try:
                ask = self._stream if self._options.stream else self._complete
                content = (written if sent == body else canonical(sent)).encode()
                exchange = await ask(call, content, clock)
                break
            except StatusError as error:
                if error.body.code == "content_filter":  # filters are models too: they waver
                    filtered += 1
                    if filtered > _FILTER_RETRIES:
                        return refused()
                    call.cost.usage.retries += 1
                elif not self._accepted.learn(error, sent):
                    raise
        exchange.options_refused = sorted(self._accepted.refused)
        return exchange

    async def _complete(self, call: ChatCall, content: bytes, clock: StageClock) -> Exchange:
        """Post a request body and return the exchange of its whole completion, timed as `generate`."""
        completion, stage_seconds = await self._client.post(content, "generate", clock)
        exchange = read_completion(completion, call)
        exchange.stage_seconds = stage_seconds
        return exchange

    async def _stream(self, call: ChatCall, content: bytes, clock: StageClock) -> Exchange:
        """Post a request body and return the exchange of its streamed completion.

        It is timed as `prefill` until the first token and `decode` from there. The stream is closed once the
        call's stop condition is met, after a few more chunks in case the token counts come.
        """
        asks_usage = self._accepted.asks_usage
        measured, answer = Cost(), GrowingCompletion(call, asks_usage)
        further_bytes = _STREAM_BYTES_PER_TOKEN * self._most_tokens(call)
        async with AsyncExitStack() as opened:  # within one stage, and closed after the next
            with clock.stage("prefill", measured):
                pieces = await opened.enter_async_context(self._http.open(content, further_bytes))
                events = lines(pieces)
                while not answer.has_begun and await _next_chunk(events, answer):
                    pass
            with clock.stage("decode", measured):
                while not answer.is_complete and await _next_chunk(events, answer):
                    pass
            for _ in range(_CHUNKS_UNTIL_USAGE if asks_usage else 0):
                if answer.has_usage or not await _next_chunk(events, answer):
                    break
        exchange = answer.finish()
        exchange.stage_seconds = measured.stage_seconds
        return exchange

    def _note(self, exchange: Exchange) -> None:
        """Remember for the record which model answered, what was refused, and who counted the tokens."""
        if exchange.is_estimate:
            self._counted_by = exchange.counted_by
        self._accepted.refused.update(exchange.options_refused)
        for names, name in (
            (self._served_models, exchange.served_model),
            (self._fingerprints, exchange.fingerprint),
        ):
            if name and len(names) < _MOST_NAMES:
                names.add(name)

    def _largest(self, call: ChatCall) -> Exchange:
        """Return the most tokens that a call can take, as an exchange; a byte is at most a token."""
        longest = sum(
            len(message["content"].encode(errors="replace")) + _TOKENS_PER_MESSAGE
            for message in call.messages
        )
        return Exchange(prompt_tokens=longest, generated_tokens=self._most_tokens(call))


async def _next_chunk(events: AsyncIterator[str], answer: GrowingCompletion) -> bool:
    """Read server-sent events up to the next chunk and add it to `answer`.

    Return False at the stream's end.
    """
    async for line in events:
        field, _, value = line.partition(":")
        if field == "data":
            if value.strip() == "[DONE]":
                return False
            answer.add(json.loads(value))
            return True
    return False
