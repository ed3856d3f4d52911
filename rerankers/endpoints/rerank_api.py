"""Rerank endpoints over HTTP: Jina, Cohere and Voyage, and vLLM, infinity and TEI on one's own machines.

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
import os
import tomllib
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, validate_call

from rerankers.endpoints.client import HttpClient
from rerankers.endpoints.endpoint import Endpoint, address
from rerankers.endpoints.exchange import BY_ENDPOINT, Exchange, canonical
from rerankers.endpoints.failures import UnreadableResponseError, UnusableResponseError
from rerankers.endpoints.keys import read_key
from rerankers.endpoints.paid import PaidCall, PaidClient
from rerankers.endpoints.prices import RerankPrice
from rerankers.endpoints.rerank_results import read_scores, tokens_reported
from rerankers.endpoints.room import Room, find_room
from rerankers.errors import InputError
from rerankers.interface import Capabilities, Cost, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.endpoints.prices import Budget
    from rerankers.stages import StageClock

ApiName = Literal["jina", "cohere", "voyage", "vllm", "infinity", "tei"]
_BYTES_PER_TOKEN = 4  # rule of thumb for English, used only where a server reports no token usage
_ESTIMATED = f"an estimate of {_BYTES_PER_TOKEN} bytes a token"
_TOKENS_PER_PAIR = 8  # more than models put around a query and a passage
_PRICE_EXAMPLE = "{tokens: 0.05}, in dollars per million tokens, or {calls: 2}, per thousand calls"


class _Shape(BaseModel):
    """One table of `rerank_apis.toml`, which explains the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str
    url: str | None = None
    path: str = ""
    key: str
    documents: str
    results: str | None = None
    score: str
    total_tokens: list[str] | None = None
    limit: int
    passage_tokens: str | None = None
    has_room: bool = False
    body: dict[str, bool | int]


def _shape_of(api: str) -> _Shape:
    table = tomllib.loads(Path(__file__).with_name("rerank_apis.toml").read_text(encoding="utf-8"))
    return _Shape.model_validate(table[api])


def _missing_key(options: Mapping[str, Any]) -> str | None:
    """Return the variable of the key that a vendor needs; a server of one's own may need none."""
    key = _shape_of(options["api"]).key
    is_ready = options["base_url"] or options["recording"] or os.environ.get(key)
    return None if is_ready else key


class RerankAPI(Reranker):
    """Ranks by the scores of an endpoint; the key comes from the environment and is never written.

    Args:
        api: whose HTTP shape the endpoint has.
        model: its name there; TEI serves one model and takes no name.
        base_url: root of a self-hosted server (`http://host:8000`), or another vendor URL in full.
        passages_per_call: more passages are sent in several calls, which suits pointwise models only; None is
            the limit in `rerank_apis.toml`.
        concurrency: queries under way at once.
        passage_tokens: longest passage in tokens, for servers that cut each passage (vLLM, Cohere); None
            leaves it to the server. A vLLM that can is told what fits its context; an older one cuts the end
            of the whole prompt, and of a score template with it.
        timeout_seconds: longest wait for one answer.
        retries: further attempts after a failure that may pass.
        recording: file of the endpoint's answers, replayed and added to; no answer is paid for twice.
        price: what the endpoint charges, such as `{tokens: 0.05}`, in dollars per million tokens, or
            `{calls: 2}`, per thousand calls.

    Raises:
        InputError: the key (unless there is a recording), the URL or the model is missing.
    """

    @validate_call
    def __init__(
        self,
        *,
        api: ApiName,
        model: str | None = None,
        base_url: str | None = None,
        passages_per_call: Annotated[int, Field(ge=1)] | None = None,
        passage_tokens: Annotated[int, Field(ge=1)] | None = None,
        concurrency: Annotated[int, Field(ge=1)] = 8,
        timeout_seconds: Annotated[float, Field(gt=0)] = 120.0,
        retries: Annotated[int, Field(ge=0)] = 6,
        recording: Path | None = None,
        price: RerankPrice | None = None,
    ) -> None:
        given = {
            "api": api,
            "model": model,
            "base_url": base_url,
            "recording": recording,
            "passage_tokens": passage_tokens,
        }
        self.check_options(given)
        if missing := _missing_key(given):
            raise InputError(f"set {missing} to your key for {api}")
        self._shape = _shape_of(api)
        url = address("base_url", base_url or self._shape.url or "", self._shape.path if base_url else "")
        self._endpoint = Endpoint(
            url=url,
            shown_url=str(url.copy_with(userinfo=b"", query=None)),
            name=url.host,
            settings="api, base_url and model",
            key_variable=self._shape.key,
            key=read_key(self._shape.key),
            timeout_seconds=timeout_seconds,
            retries=retries,
            concurrency=concurrency,
            recording=recording,
            price_example=_PRICE_EXAMPLE if base_url is None else None,
        )
        self._api, self._model = api, model
        self._limit = passages_per_call or self._shape.limit
        self._passage_tokens = passage_tokens
        self._price = price
        self._connect()

    def _connect(self) -> None:
        self._looking = asyncio.Lock()
        self._has_looked = False
        self._room: Room | None = None
        self._http = HttpClient(self._endpoint)
        self._client = PaidClient(self._http, self._price)

    @classmethod
    def capabilities(cls, options: Mapping[str, Any]) -> Capabilities:
        """Tell that an endpoint is called; a server of one's own (`base_url`) is not charged for."""
        return Capabilities(
            is_remote=True,
            is_priced=options["price"] is not None or options["base_url"] is not None,
            is_replayed=options["recording"] is not None,
            missing_key=_missing_key(options),
            may_use_gpu=False,
        )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse an API without the model, the address or the key that it needs."""
        api, shape = options["api"], _shape_of(options["api"])
        if options["base_url"] is None and shape.url is None:
            raise InputError(f"{api} is self-hosted; set base_url, for example http://localhost:8000")
        if options["model"] is None and api != "tei":
            raise InputError(f"{api} serves several models; set model")
        if options["passage_tokens"] is not None and shape.passage_tokens is None:
            raise InputError(f"{api} takes no passage_tokens; vllm and cohere do")
        if options["base_url"] is not None:
            address("base_url", options["base_url"], shape.path)
        read_key(shape.key)

    def connection(self) -> Reranker:
        """Return a reranker that asks the same endpoint over a connection of its own."""
        other = copy.copy(self)
        other._endpoint = replace(self._endpoint, recording=None)
        other._connect()
        return other

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank by the endpoint's scores, several queries at once; a failure for good ends all."""
        alone = len(requests) == 1
        return self._client.run([partial(self._rank, request, clock, alone) for request in requests])

    async def _rank(self, request: RerankRequest, clock: StageClock, alone: bool) -> Ranking:
        cost = Cost()
        texts = [candidate.text for candidate in request.candidates]
        scores: dict[int, float] = {}
        for start in range(0, len(texts), self._limit):
            part = texts[start : start + self._limit]
            exchange = await self._answer(request.query, part, cost, clock, alone)
            with clock.stage("parse", cost):
                faults = sum(cost.usage.faults.values())
                read = self._read(json.loads(exchange.text), len(part), cost)
                is_repaired = len(read) < len(part) or sum(cost.usage.faults.values()) > faults
                cost.usage.well_formed += not is_repaired
                scores |= {start + index: score for index, score in read.items()}
        with clock.stage("order", cost):
            found = sorted(scores, key=lambda i: -scores[i])
            missing = [i for i in range(len(texts)) if i not in scores]
            cost.usage.fault("missing", len(missing))
            last = scores[found[-1]] if found else 0.0
            values = [scores.get(i, last) for i in range(len(texts))]
            return Ranking.of(request, [*found, *missing], cost, values)

    async def _answer(
        self, query: str, texts: list[str], cost: Cost, clock: StageClock, alone: bool
    ) -> Exchange:
        body: dict[str, Any] = {**self._shape.body, "query": query, self._shape.documents: texts}
        if self._model is not None:
            body["model"] = self._model
        if self._passage_tokens is not None and self._shape.passage_tokens is not None:
            body = self._with_limit(body, self._passage_tokens)
        call = PaidCall(
            body=canonical(body),
            cost=cost,
            largest=partial(_largest, query, texts),
            ask=partial(self._ask, body, query, texts, clock),
        )
        [exchange] = await self._client.answer([call], clock, alone)
        return exchange

    def _with_limit(self, body: dict[str, Any], passage_tokens: int) -> dict[str, Any]:
        """Return the request with a limit for each passage in place of one for the whole prompt."""
        kept = {name: value for name, value in body.items() if name != "truncate_prompt_tokens"}
        return {**kept, self._shape.passage_tokens or "": passage_tokens}

    async def _find_room(self) -> None:
        """Find out, once, how much of a passage the server's model can read with the prompt around it."""
        if self._passage_tokens is not None or not self._shape.has_room:
            return
        async with self._looking:
            if not self._has_looked:
                root = self._endpoint.url.path.removesuffix(self._shape.path)
                limit = self._shape.passage_tokens or ""
                self._room = await find_room(self._http, root, self._model or "", limit)
                self._has_looked = True

    async def _ask(self, body: dict[str, Any], query: str, texts: list[str], clock: StageClock) -> Exchange:
        """Make one attempt, and read the response as far as to know that it can be used."""
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
        return read_scores(response, self._shape.results, self._shape.score, passages, cost.usage)

    def _tokens(self, decoded: Any, query: str, texts: list[str]) -> tuple[int, bool]:
        """Return the tokens of a call, and whether they are an estimate because the server counts none."""
        reported = tokens_reported(decoded, self._shape.total_tokens)
        if reported is not None:
            return reported, False
        return math.ceil(_bytes_read(query, texts) / _BYTES_PER_TOKEN), True

    def pay_from(self, budget: Budget) -> None:
        """Stop before calls could cost more than a budget has left; a server of one's own costs nothing."""
        self._client.pay_from(budget)

    def describe(self) -> dict[str, object]:
        """Return endpoint and model as asked, the kind of the scores, and who counts the tokens."""
        return {
            "api": self._api,
            "endpoint": self._endpoint.shown_url,
            "model": self._model,
            "scores": "activated",
            "passage_tokens": self._passage_tokens,
            "room_for_passages": asdict(self._room) if self._room else None,
            "passages_per_call": self._limit,
            "concurrency": self._endpoint.concurrency,
            "calls_replayed": self._client.calls_replayed,
            "price": self._price.model_dump() if self._price else None,
            "tokens_counted_by": "the endpoint" if self._shape.total_tokens else _ESTIMATED,
        }

    def close(self) -> None:
        """Close connections, the event loop and the recording."""
        self._client.close()


def _largest(query: str, texts: list[str]) -> Exchange:
    """Return the most tokens that an attempt can take; a byte is at most a token."""
    return Exchange(prompt_tokens=_bytes_read(query, texts) + _TOKENS_PER_PAIR * len(texts))


def _bytes_read(query: str, texts: list[str]) -> int:
    """Return the bytes of text that the model reads: the query once with each passage."""
    return sum(len(f"{query}{text}".encode(errors="replace")) for text in texts)
