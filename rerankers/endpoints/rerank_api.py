"""A reranker that calls rerank endpoints over HTTP: Jina, Cohere, Voyage, and vLLM, infinity and TEI servers.

What differs between them is data: `rerankers/endpoints/rerank_apis.toml`. All are asked for activated scores,
between 0 and 1, because vendors give no others. Queries run concurrently, the calls of one query one after
the other. Waiting between attempts is charged to no stage. A server that leaves passages out does not lose
them: they follow in first-stage order and are counted as missing. A response without one readable score is an
error.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rerankers.endpoints.client import HttpClient
from rerankers.endpoints.endpoint import Endpoint, address
from rerankers.endpoints.exchange import BY_ENDPOINT, Exchange, canonical
from rerankers.endpoints.failures import UnreadableResponseError, UnusableResponseError
from rerankers.endpoints.keys import read_key
from rerankers.endpoints.paid import PaidCall, PaidClient
from rerankers.endpoints.rerank_results import read_scores, tokens_reported
from rerankers.endpoints.room import Room, find_room
from rerankers.errors import InputError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.endpoints.prices import Budget
    from rerankers.methods.endpoints.rerank_api import RerankAPIOptions
    from rerankers.stages import StageClock

_BYTES_PER_TOKEN = 4  # rule of thumb for English, used only where a server reports no token usage
_ESTIMATED = f"an estimate of {_BYTES_PER_TOKEN} bytes a token"
_TOKENS_PER_PAIR = 8  # more than models put around a query and a passage
_PRICE_EXAMPLE = "{tokens: 0.05}, in dollars per million tokens, or {calls: 2}, per thousand calls"


class RerankAPI(Reranker):
    """A reranker that takes its scores from a rerank endpoint; the key comes from the environment.

    Raises:
        InputError: the key (unless there is a response cache), the URL or the model is missing.
    """

    def __init__(self, options: RerankAPIOptions) -> None:
        if missing := options.missing_key:
            raise InputError(f"set {missing} to your key for {options.api}")
        self._options = options
        self._shape = options.shape
        is_own = options.base_url is not None
        base_url = options.base_url or self._shape.url or ""
        url = address("base_url", base_url, self._shape.path if is_own else "")
        self._endpoint = Endpoint(
            url=url,
            shown_url=str(url.copy_with(userinfo=b"", query=None)),
            name=url.host,
            settings="api, base_url and model",
            key_variable=self._shape.key,
            key=read_key(self._shape.key),
            timeout_seconds=options.timeout_seconds,
            retries=options.retries,
            concurrency=options.concurrency,
            recording=options.recording,
            price_example=None if is_own else _PRICE_EXAMPLE,
        )
        self._price = options.price
        self._connect()

    def _connect(self) -> None:
        """Open a new client of the endpoint, with nothing known yet of the server's context length."""
        self._room_lock = asyncio.Lock()
        self._has_asked_for_room = False
        self._room: Room | None = None
        self._http = HttpClient(self._endpoint)
        self._client = PaidClient(self._http, self._price)

    def connection(self) -> Reranker:
        """Return a reranker that calls the same endpoint over its own connection, without response cache."""
        other = copy.copy(self)
        other._endpoint = replace(self._endpoint, recording=None)
        other._connect()
        return other

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank each request by the endpoint's scores, several requests at once.

        A failure for good ends all of them.
        """
        alone = len(requests) == 1
        return self._client.run([partial(self._rank, request, clock, alone) for request in requests])

    async def _rank(self, request: RerankRequest, clock: StageClock, alone: bool) -> Ranking:
        """Score one request's passages, `most_passages` a call, and return its ranking.

        Passages without a score are last.
        """
        cost = Cost()
        texts = [candidate.text for candidate in request.candidates]
        scores: dict[int, float] = {}
        for start in range(0, len(texts), self._options.most_passages):
            part = texts[start : start + self._options.most_passages]
            cost.usage.sequential_calls += 1
            exchange = await self._answer(request.query, part, cost, clock, alone)
            with clock.stage("parse", cost):
                faults = sum(cost.usage.faults.values())
                read = self._read(json.loads(exchange.text), len(part), cost)
                is_repaired = len(read) < len(part) or sum(cost.usage.faults.values()) > faults
                cost.usage.well_formed += not is_repaired
                scores |= {start + index: score for index, score in read.items()}
        with clock.stage("order", cost):
            scored = sorted(scores, key=lambda i: -scores[i])
            missing = [i for i in range(len(texts)) if i not in scores]
            cost.usage.fault("missing", len(missing))
            last = scores[scored[-1]] if scored else 0.0
            values = [scores.get(i, last) for i in range(len(texts))]
            return Ranking.of(request, [*scored, *missing], cost, values)

    async def _answer(
        self, query: str, texts: list[str], cost: Cost, clock: StageClock, alone: bool
    ) -> Exchange:
        """Make one call that scores texts for a query; return its exchange, and charge it to `cost`."""
        body: dict[str, Any] = {**self._shape.body, "query": query, self._shape.documents: texts}
        if self._options.model is not None:
            body["model"] = self._options.model
        if self._options.passage_tokens is not None and self._shape.passage_tokens is not None:
            body = self._with_limit(body, self._options.passage_tokens)
        call = PaidCall(
            body=canonical(body),
            cost=cost,
            largest=partial(_largest, query, texts),
            ask=partial(self._ask, body, query, texts, clock),
        )
        [exchange] = await self._client.answer([call], clock, alone)
        return exchange

    def _with_limit(self, body: dict[str, Any], passage_tokens: int) -> dict[str, Any]:
        """Return the request body with a limit of tokens a passage in place of one for the prompt."""
        others = {name: value for name, value in body.items() if name != "truncate_prompt_tokens"}
        return {**others, self._shape.passage_tokens or "": passage_tokens}

    async def _find_room(self) -> None:
        """Ask a vLLM server, once, how many tokens of a passage its model can read.

        Keep the answer in `_room`.
        """
        if self._options.passage_tokens is not None or not self._shape.has_room:
            return
        async with self._room_lock:
            if not self._has_asked_for_room:
                root = self._endpoint.url.path.removesuffix(self._shape.path)
                limit = self._shape.passage_tokens or ""
                self._room = await find_room(self._http, root, self._options.model or "", limit)
                self._has_asked_for_room = True

    async def _ask(self, body: dict[str, Any], query: str, texts: list[str], clock: StageClock) -> Exchange:
        """Send one request, and return its exchange if the response holds a usable score.

        Raises:
            UnreadableResponseError: a complete response without one.
            the errors of `PaidClient.post`.
        """
        await self._find_room()
        sent = body if self._room is None else self._with_limit(body, self._room.passage_tokens(query))
        response, stage_seconds = await self._client.post(canonical(sent).encode(), "forward", clock)
        tokens, is_estimate = self._tokens(response, query, texts)
        exchange = Exchange(
            text=canonical(self._client.hidden(response)),
            prompt_tokens=tokens,
            counted_by=_ESTIMATED if is_estimate else BY_ENDPOINT,
            stage_seconds=stage_seconds,
        )
        try:
            self._read(response, len(texts), Cost())
        except UnusableResponseError as error:
            error.exchange = None if is_estimate else exchange
            if isinstance(response, dict) and response.get("error"):
                raise  # it may have been a passing failure
            raise UnreadableResponseError(str(error), error.exchange) from error
        return exchange

    def _read(self, response: Any, passages: int, cost: Cost) -> dict[int, float]:
        """Return the score of each passage, by its number, that a decoded response holds.

        Faults go into `cost`.
        """
        return read_scores(response, self._shape.results, self._shape.score, passages, cost.usage)

    def _tokens(self, decoded: Any, query: str, texts: list[str]) -> tuple[int, bool]:
        """Return the tokens of a call, and whether they are an estimate because the server counts none."""
        reported = tokens_reported(decoded, self._shape.total_tokens)
        if reported is not None:
            return reported, False
        return math.ceil(_bytes_read(query, texts) / _BYTES_PER_TOKEN), True

    def pay_from(self, budget: Budget) -> None:
        """Charge calls to a budget from now on, and stop before one could cost more than it has left.

        Calls to a server of one's own cost nothing.
        """
        self._client.pay_from(budget)

    def describe(self) -> dict[str, object]:
        """Return the record's entry: endpoint and model as asked, kind of scores, and token counter."""
        return {
            "api": self._options.api,
            "endpoint": self._endpoint.shown_url,
            "model": self._options.model,
            "scores": "activated",
            "passage_tokens": self._options.passage_tokens,
            "room_for_passages": asdict(self._room) if self._room else None,
            "passages_per_call": self._options.most_passages,
            "concurrency": self._options.concurrency,
            "calls_replayed": self._client.calls_replayed,
            "price": self._price.model_dump() if self._price else None,
            "tokens_counted_by": "the endpoint" if self._shape.total_tokens else _ESTIMATED,
        }

    def close(self) -> None:
        """Close the connections, the event loop and the response cache."""
        self._client.close()


def _largest(query: str, texts: list[str]) -> Exchange:
    """Return the most tokens that a call with these texts can take, as an exchange.

    A byte is at most a token.
    """
    return Exchange(prompt_tokens=_bytes_read(query, texts) + _TOKENS_PER_PAIR * len(texts))


def _bytes_read(query: str, texts: list[str]) -> int:
    """Return the bytes of text that the model reads: the query once with each passage."""
    return sum(len(f"{query}{text}".encode(errors="replace")) for text in texts)
