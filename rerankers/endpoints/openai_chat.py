"""Chat models behind any endpoint that speaks OpenAI's chat API: OpenAI, vLLM, SGLang, llama.cpp, and others.

One client with its connection pool, and one event loop for it, live as long as the backend. Queries run
concurrently, and so do calls of one query that do not depend on each other. Neither failed attempts nor the
waits between them count as latency.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from rerankers.chat.backends import CHAT_KEY
from rerankers.chat.conversation import (
    ChatAnswer,
    ChatBackend,
    ChatCall,
    T,
    Talk,
    count_round,
    joined_turns,
)
from rerankers.chat.thinking import after_thoughts, answers_after_thoughts
from rerankers.endpoints.client import address, lines
from rerankers.endpoints.failures import Endpoint, StatusError
from rerankers.endpoints.keys import read_key
from rerankers.endpoints.openai_client import OpenAIClient
from rerankers.endpoints.paid import PaidCall, PaidClient
from rerankers.endpoints.prices import find_price
from rerankers.endpoints.response_cache import BY_ENDPOINT, Exchange, canonical
from rerankers.endpoints.responses import GrowingAnswer, read_completion, refused
from rerankers.errors import InputError
from rerankers.interface import Cost
from rerankers.text.redaction import hide

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rerankers.chat.conversation import Message
    from rerankers.chat.options import ChatOptions
    from rerankers.endpoints.prices import Budget
    from rerankers.stages import StageClock

_OPENAI_URL = "https://api.openai.com/v1"
_PATH = "/chat/completions"
_KEY = CHAT_KEY
_FILTER_RETRIES = 2  # of a prompt that a content filter refused, which costs nothing
_TOKENS_PER_MESSAGE = 8  # more than chat templates put around a message
_STREAM_BYTES_PER_TOKEN = 2**10  # more than a chunk has around a token
_CHUNKS_UNTIL_USAGE = 8  # read on for the count of a stream whose answer is known, if it ends as soon
_OTHER_LIMIT = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_SYSTEM_TURN, _REPEATED_TURNS = "system_turn", "repeated_turns"
_TURNS = {_SYSTEM_TURN, _REPEATED_TURNS}
_NO_SYSTEM = re.compile(r"system (role|message|turn|prompt)|only user|roles must alternate", re.IGNORECASE)
_ALTERNATE = re.compile(r"roles must alternate", re.IGNORECASE)
"""Words by which chat templates behind an endpoint refuse turns."""
_MOST_NAMES = 20  # of models and fingerprints, in the record
_REFUSAL = re.compile(
    r"(un|not |n't )(support|recogni[sz]e|know|permit|allow|expect|accept)|\bextra\b|deprecated"
    r"|invalid (parameter|argument|field)",
    re.IGNORECASE,
)
"""Words by which servers refuse an option as such; its value is too large in other words."""


class OpenAIChat(ChatBackend):
    """Answers calls through an endpoint; the key is read from `OPENAI_API_KEY` and never leaves the client.

    Raises:
        InputError: neither a key nor a base URL nor a recording is set, or the key or the URL is malformed.
    """

    def __init__(self, options: ChatOptions) -> None:
        base_url = options.base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._key = read_key(_KEY)
        if self._key is None and base_url is None and options.recording is None:
            raise InputError(f"set {_KEY}, or give the base_url of an endpoint that needs no key")
        self._options = options
        self._is_openai = base_url is None
        url = address("base_url", base_url or _OPENAI_URL, _PATH)
        http = OpenAIClient(
            url,
            self._key,
            options.timeout_seconds,
            options.concurrency,
            # Azure's dated API takes the key in a header of its own.
            headers={"api-key": self._key} if self._key and "api-version" in url.params else {},
            names_organization=self._is_openai,
        )
        root = url.copy_with(userinfo=b"", query=None, path=url.path.removesuffix(_PATH.removeprefix("/")))
        self._url = str(root)
        name = f"{url.host} (model {options.model!r})"
        where = "the model's name and base_url (it usually ends in /v1)"
        endpoint = Endpoint(name, _KEY, where, options.retries)
        self._http = http
        self._client = PaidClient(http, endpoint, self._url, options.concurrency, options.recording)
        self._price = options.price or find_price(options.model)
        # OpenAI's own newer models refuse `max_tokens`; many other servers know nothing else.
        self._first_limit = self._limit = "max_completion_tokens" if self._is_openai else "max_tokens"
        self._options_refused: set[str] = set()
        self._served_models: set[str] = set()
        self._fingerprints: set[str] = set()
        self._counted_by = BY_ENDPOINT

    def run(self, talks: Sequence[Talk[T]], clock: StageClock) -> list[T]:
        """Drive up to `concurrency` talks at once; after a failure for good, no further call begins."""
        alone = len(talks) == 1
        return self._client.run([partial(self._drive, talk, clock, alone) for talk in talks])

    def pay_from(self, budget: Budget) -> None:
        """Stop before calls could cost more than a budget has left."""
        if self._price is None:
            raise InputError(
                f"no price is listed for {self._options.model!r}, so the budget cannot be kept; give the "
                "option price: {input: 0.5, cached: 0.5, output: 1.5}, in dollars per million tokens"
            )
        self._client.pay_from(budget)

    def describe(self) -> dict[str, object]:
        """Return the record's entry: settings of the requests, models served, refusals,
        and who counted the tokens.
        """
        is_sampled = "temperature" in self._options_refused
        notice = {"notice": "the endpoint refuses a temperature: its answers are drawn at random"}
        return {
            "backend": "openai",
            "endpoint": self._url,
            "model": self._options.model,
            "served_models": sorted(self._served_models),
            "system_fingerprints": sorted(self._fingerprints),
            "tokens_counted_by": self._counted_by,
            "calls_replayed": self._client.calls_replayed,
            "concurrency": self._options.concurrency,
            "dollars_per_million_tokens": self._price.model_dump() if self._price else None,
            **({"options_refused": sorted(self._options_refused)} if self._options_refused else {}),
            **(notice if is_sampled else {}),
        }

    def close(self) -> None:
        """Close connections, the event loop and the recording."""
        self._client.close()

    async def _drive(self, talk: Talk[T], clock: StageClock, alone: bool) -> T:
        try:
            calls = next(talk)
            while True:
                count_round(calls)
                calls = talk.send(await self._answer(calls, clock, alone))
        except StopIteration as finished:
            return cast("T", finished.value)

    async def _answer(self, calls: Sequence[ChatCall], clock: StageClock, alone: bool) -> list[ChatAnswer]:
        """Answer the calls of a round side by side."""
        if self._options.reasoning_tokens:
            calls = [answers_after_thoughts(call) for call in calls]
        exchanges = await self._client.answer([self._paid(call, clock) for call in calls], clock, alone)
        answers = []
        for call, exchange in zip(calls, exchanges, strict=True):
            self._book(call, exchange)
            text = after_thoughts(exchange.text) if self._options.reasoning_tokens else exchange.text
            tokens = exchange.generated_tokens - exchange.reasoning_tokens
            answers.append(ChatAnswer(text, exchange.end, max(0, tokens)))
        return answers

    def _paid(self, call: ChatCall, clock: StageClock) -> PaidCall:
        body = self._body(call)
        written = canonical(body)
        return PaidCall(
            body=written,
            cost=call.cost,
            most_dollars=partial(self._most_dollars, call),
            ask=partial(self._ask, call, body, written, clock),
            dollars=self._dollars,
            suffices=lambda kept: kept.end != "known" or call.known(kept.text),
        )

    def _body(self, call: ChatCall) -> dict[str, Any]:
        """Return the request as the options say, which is how it is recorded."""
        body = {
            "model": self._options.model,
            "messages": call.messages,
            self._first_limit: self._most_tokens(call),
        }
        if self._options.temperature is not None:
            body["temperature"] = self._options.temperature
        if self._options.stream:
            body["stream"] = True
        return {**self._options.extra_body, **body}

    def _most_tokens(self, call: ChatCall) -> int:
        """Return the most tokens that an answer may have, thoughts included."""
        return call.max_new_tokens + self._options.reasoning_tokens

    def _as_accepted(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the request without the options that the endpoint refused before."""
        sent = {name: value for name, value in body.items() if name not in self._options_refused}
        sent[self._limit] = body[self._first_limit]
        if _TURNS & self._options_refused:
            turns = _REPEATED_TURNS in self._options_refused
            sent["messages"] = joined_turns(body["messages"], joins_turns=turns)
        if self._options.stream and "stream_options" not in self._options_refused:
            # Usage with every chunk, where a server offers it, survives ending the answer early.
            continuous = {} if self._is_openai else {"continuous_usage_stats": True}
            sent["stream_options"] = {"include_usage": True, **continuous}
        return sent

    async def _ask(self, call: ChatCall, body: dict[str, Any], written: str, clock: StageClock) -> Exchange:
        """Make one attempt; a request whose options are refused is repeated at once without them."""
        filtered = 0
        while True:
            sent = self._as_accepted(body)
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
                elif not self._leaves_out(error, sent):
                    raise
        exchange.text = hide(exchange.text, _KEY, self._key or "")
        exchange.options_refused = sorted(self._options_refused)
        return exchange

    def _leaves_out(self, error: StatusError, sent: dict[str, Any]) -> bool:
        """Return whether the endpoint refused an option, which is remembered, and can do without."""
        message = error.body.message
        if error.status not in (400, 422):
            return False
        if self._options.stream and "stream_options" in sent and "stream_options" in message:
            self._options_refused.add("stream_options")
            return True
        if self._joins_turns(message, sent["messages"]):
            return True
        if not _REFUSAL.search(message):
            return False
        limit = next(name for name in _OTHER_LIMIT if name in sent)
        other = _OTHER_LIMIT[limit]
        if re.search(rf"\b{limit}\b", message) and other not in self._options_refused:
            self._options_refused.add(limit)
            self._limit = other
            return True
        # A temperature above 1 may be refused for its value, which is for the user to change.
        if sent.get("temperature", 2.0) <= 1.0 and "temperature" in message:
            self._options_refused.add("temperature")
            return True
        return False

    def _joins_turns(self, message: str, messages: Sequence[Message]) -> bool:
        """Return whether the endpoint's model refused turns (Gemma 2, older Mistral),
        which are now joined.
        """
        roles = [turn["role"] for turn in messages]
        if "system" in roles and _NO_SYSTEM.search(message):
            self._options_refused.add(_SYSTEM_TURN)
            return True
        if any(one == other for one, other in pairwise(roles)) and _ALTERNATE.search(message):
            self._options_refused.add(_REPEATED_TURNS)
            return True
        return False

    async def _complete(self, call: ChatCall, content: bytes, clock: StageClock) -> Exchange:
        measured = Cost()
        with clock.stage("generate", measured):
            completion = await self._http.post(content)
        exchange = read_completion(completion, call)
        exchange.stage_seconds = measured.stage_seconds
        return exchange

    async def _stream(self, call: ChatCall, content: bytes, clock: StageClock) -> Exchange:
        """Prefill lasts until the first token, decode from there; the answer ends once it is known."""
        asks_usage = "stream_options" not in self._options_refused
        measured, answer = Cost(), GrowingAnswer(call, asks_usage)
        further_bytes = _STREAM_BYTES_PER_TOKEN * self._most_tokens(call)
        async with AsyncExitStack() as opened:  # within one stage, and closed after the next
            with clock.stage("prefill", measured):
                pieces = await opened.enter_async_context(self._http.open(content, further_bytes))
                events = lines(pieces)
                while not answer.has_begun and await _next_chunk(events, answer):
                    pass
            with clock.stage("decode", measured):
                while not answer.is_known and await _next_chunk(events, answer):
                    pass
            for _ in range(_CHUNKS_UNTIL_USAGE if asks_usage else 0):
                if answer.has_usage or not await _next_chunk(events, answer):
                    break
        exchange = answer.finish()
        exchange.stage_seconds = measured.stage_seconds
        return exchange

    def _book(self, call: ChatCall, exchange: Exchange) -> None:
        """Charge the query; remember who answered."""
        usage = call.cost.usage
        usage.prompt_tokens += exchange.prompt_tokens
        usage.cached_tokens += exchange.cached_tokens
        usage.generated_tokens += exchange.generated_tokens
        usage.reasoning_tokens += exchange.reasoning_tokens
        usage.dollars += self._dollars(exchange)
        if exchange.is_estimate:
            usage.calls_estimated += 1
            self._counted_by = exchange.counted_by
        self._options_refused.update(exchange.options_refused)
        for names, name in (
            (self._served_models, exchange.served_model),
            (self._fingerprints, exchange.fingerprint),
        ):
            if name and len(names) < _MOST_NAMES:
                names.add(name)

    def _most_dollars(self, call: ChatCall) -> float:
        """Return the most that an attempt can cost; a byte is at most a token."""
        if self._price is None:
            return 0.0
        longest = sum(
            len(message["content"].encode(errors="replace")) + _TOKENS_PER_MESSAGE
            for message in call.messages
        )
        return self._price.dollars(longest, 0, self._most_tokens(call))

    def _dollars(self, exchange: Exchange) -> float:
        """Return the dollars that a call costs, or cost when it was cached; 0 where no price is known."""
        counts = exchange.prompt_tokens, exchange.cached_tokens, exchange.generated_tokens
        return self._price.dollars(*counts) if self._price else 0.0


async def _next_chunk(events: AsyncIterator[str], answer: GrowingAnswer) -> bool:
    """Read the server-sent events up to the next chunk; False where they end."""
    async for line in events:
        field, _, value = line.partition(":")
        if field == "data":
            if value.strip() == "[DONE]":
                return False
            answer.add(json.loads(value))
            return True
    return False
