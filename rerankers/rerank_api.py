"""Rerank endpoints over HTTP: Jina, Cohere and Voyage, and vLLM, infinity and TEI on one's own machines.

What differs between them is data: `rerankers/rerank_apis.toml`. Queries run concurrently, the calls of one
query one after the other. Waiting between attempts is charged to no stage. A server that leaves passages out
does not lose them: they follow in first-stage order and are counted as missing.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import math
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, validate_call

from rerankers.errors import InputError
from rerankers.http_retry import PASSING, Endpoint, UnusableResponseError
from rerankers.interface import Capabilities, Cost, Ranking, Reranker, RerankRequest
from rerankers.llm.prices import Account, RerankPrice
from rerankers.llm.recording import Exchange, Recording, canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.llm.prices import Budget
    from rerankers.stages import StageClock

ApiName = Literal["jina", "cohere", "voyage", "vllm", "infinity", "tei"]
_BYTES_PER_TOKEN = 4  # rule of thumb for English, used only where a server reports no token usage
_TOKENS_PER_PAIR = 8  # more than models put around a query and a passage


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
    body: dict[str, bool | int]


def _shape_of(api: str) -> _Shape:
    table = tomllib.loads(Path(__file__).with_name("rerank_apis.toml").read_text(encoding="utf-8"))
    return _Shape.model_validate(table[api])


def _missing_key(options: Mapping[str, Any]) -> str | None:
    """The variable of the key that a vendor needs; a server of one's own may need none."""
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
        concurrency: Annotated[int, Field(ge=1)] = 8,
        timeout_seconds: Annotated[float, Field(gt=0)] = 120.0,
        retries: Annotated[int, Field(ge=0)] = 6,
        recording: Path | None = None,
        price: RerankPrice | None = None,
    ) -> None:
        given = {"api": api, "model": model, "base_url": base_url, "recording": recording}
        self.check_options(given)
        if missing := _missing_key(given):
            raise InputError(f"set {missing} to your key for {api}")
        self._shape = _shape_of(api)
        self._url = self._url_of(base_url)
        key = os.environ.get(self._shape.key)
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout_seconds)
        self._runner = asyncio.Runner()
        self._recording = Recording(recording) if recording else None
        self._replayed = 0
        self._api, self._model = api, model
        self._limit = passages_per_call or self._shape.limit
        self._concurrency = concurrency
        where = "api, base_url and model"
        self._endpoint = Endpoint(httpx.URL(self._url).host, self._shape.key, where, retries)
        self._is_charged = base_url is None
        self._price = price
        self._account: Account | None = None

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

    def connection(self) -> Reranker:
        """Return a reranker that asks the same endpoint over a connection of its own."""
        other = copy.copy(self)
        other._client = httpx.AsyncClient(headers=self._client.headers, timeout=self._client.timeout)
        other._runner = asyncio.Runner()
        return other

    def _url_of(self, base_url: str | None) -> str:
        return self._shape.url or "" if base_url is None else base_url.rstrip("/") + self._shape.path

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank by the endpoint's scores, several queries at once; a failure for good ends all."""
        try:
            return self._runner.run(self._run(requests, clock))
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
            raise first from first.__cause__

    async def _run(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        free = asyncio.Semaphore(self._concurrency)

        async def rank(request: RerankRequest) -> Ranking:
            async with free:
                return await self._rank(request, clock, alone=len(requests) == 1)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(rank(request)) for request in requests]
        return [task.result() for task in tasks]

    async def _rank(self, request: RerankRequest, clock: StageClock, alone: bool) -> Ranking:
        cost = Cost()
        texts = [candidate.text for candidate in request.candidates]
        scores: dict[int, float] = {}
        for start in range(0, len(texts), self._limit):
            part = texts[start : start + self._limit]
            response = await self._answer(request.query, part, cost, clock, alone)
            with clock.stage("parse", cost):
                self._count(response, request.query, part, cost)
                for index, score in self._read(response, len(part), cost).items():
                    scores[start + index] = score
        with clock.stage("order", cost):
            found = sorted(scores, key=lambda i: -scores[i])
            missing = [i for i in range(len(texts)) if i not in scores]
            cost.usage.fault("missing", len(missing))
            last = scores[found[-1]] if found else 0.0
            values = [scores.get(i, last) for i in range(len(texts))]
            return Ranking.of(request, [*found, *missing], cost, values)

    async def _answer(self, query: str, texts: list[str], cost: Cost, clock: StageClock, alone: bool) -> Any:
        """The decoded answer, from the recording or the endpoint; only the attempt that succeeds is charged.

        A query that runs alone has the clock corrected: a replayed answer takes its recorded time, and what
        was spent on failures and waits did not happen.
        """
        body: dict[str, Any] = {**self._shape.body, "query": query, self._shape.documents: texts}
        if self._model is not None:
            body["model"] = self._model
        written = canonical(body)
        key = self._recording.next_key(self._url, written) if self._recording else None
        exchange = self._recording.find(key) if self._recording and key else None
        started = clock.now()
        if exchange is not None:
            self._replayed += 1
            cost.usage.calls_replayed += 1
        else:
            exchange = await self._ask_within_budget(query, texts, written, cost, clock)
            if self._recording and key:
                self._recording.add(key, exchange)
        if alone:
            clock.advance(sum(exchange.stage_seconds.values()) - (clock.now() - started))
        for stage, seconds in exchange.stage_seconds.items():
            cost.stage_seconds[stage] = cost.stage_seconds.get(stage, 0.0) + seconds
        cost.usage.llm_calls += 1
        return json.loads(exchange.text)

    async def _ask_within_budget(
        self, query: str, texts: list[str], body: str, cost: Cost, clock: StageClock
    ) -> Exchange:
        """Ask once the most that the call can cost is set aside; a byte is at most a token."""
        if self._account is None or self._price is None:
            return await self._ask(body, cost, clock)
        longest = _bytes_read(query, texts) + _TOKENS_PER_PAIR * len(texts)
        async with self._account.bill(self._price.dollars(longest)) as bill:
            exchange = await self._ask(body, cost, clock)
            tokens, _ = self._tokens(json.loads(exchange.text), query, texts)
            bill.dollars = self._price.dollars(tokens)
        return exchange

    async def _ask(self, body: str, cost: Cost, clock: StageClock) -> Exchange:
        for failures in itertools.count(1):
            attempt = Cost()
            try:
                with clock.stage("forward", attempt):
                    response = await self._client.post(self._url, content=body.encode())
                    response.raise_for_status()
                self._results(response.json())
                return Exchange(text=response.text, stage_seconds=attempt.stage_seconds)
            except PASSING as error:
                wait = self._endpoint.wait_before_retry(error, failures)
            cost.usage.retries += 1
            await asyncio.sleep(wait)
        raise AssertionError  # the loop above ends by returning or raising

    def _results(self, decoded: Any) -> list[Any]:
        found = decoded if self._shape.results is None else _at(decoded, [self._shape.results])
        if not isinstance(found, list):
            raise UnusableResponseError(f"no results in {str(decoded)[:100]!r}; check api and base_url")
        return found

    def _read(self, decoded: Any, count: int, cost: Cost) -> dict[int, float]:
        """Score by passage; what is no result of a passage sent is counted as a fault and left out."""
        scores: dict[int, float] = {}
        for result in self._results(decoded):
            index, score = _at(result, ["index"]), _at(result, [self._shape.score])
            if not isinstance(index, int) or not isinstance(score, (int, float)) or not math.isfinite(score):
                cost.usage.fault("malformed")
            elif not 0 <= index < count:
                cost.usage.fault("out_of_range")
            elif index in scores:
                cost.usage.fault("duplicate")
            else:
                scores[index] = float(score)
        return scores

    def _count(self, decoded: Any, query: str, texts: list[str], cost: Cost) -> None:
        tokens, is_estimate = self._tokens(decoded, query, texts)
        cost.usage.prompt_tokens += tokens
        cost.usage.calls_estimated += is_estimate
        cost.usage.dollars += self._price.dollars(tokens) if self._price else 0.0

    def _tokens(self, decoded: Any, query: str, texts: list[str]) -> tuple[int, bool]:
        """Tokens of a call, and whether they are an estimate: the server reports none, or something else."""
        reported = _at(decoded, self._shape.total_tokens) if self._shape.total_tokens else None
        if isinstance(reported, int) and reported > 0:
            return int(reported), False
        return math.ceil(_bytes_read(query, texts) / _BYTES_PER_TOKEN), True

    def pay_from(self, budget: Budget) -> None:
        """Stop before calls could cost more than a budget has left; a server of one's own costs nothing.

        Raises:
            InputError: what a vendor charges is not known.
        """
        if self._price is None and self._is_charged:
            raise InputError(
                f"what {self._api} charges is not known here, so the budget cannot be kept; give the option "
                "price: {tokens: 0.05}, in dollars per million tokens, or {calls: 2}, per thousand calls"
            )
        self._account = Account(budget)

    def describe(self) -> dict[str, object]:
        """Endpoint and model as asked, and who counts the tokens."""
        url = httpx.URL(self._url).copy_with(userinfo=b"", query=None)
        estimate = f"an estimate of {_BYTES_PER_TOKEN} bytes a token"
        return {
            "api": self._api,
            "endpoint": str(url),
            "model": self._model,
            "passages_per_call": self._limit,
            "concurrency": self._concurrency,
            "calls_replayed": self._replayed,
            "price": self._price.model_dump() if self._price else None,
            "tokens_counted_by": "the endpoint" if self._shape.total_tokens else estimate,
        }

    def close(self) -> None:
        """Close connections, the event loop and the recording."""
        if not self._client.is_closed:
            self._runner.run(self._client.aclose())
            self._runner.close()
            if self._recording:
                self._recording.close()


def _bytes_read(query: str, texts: list[str]) -> int:
    """Bytes of text that the model reads: the query once with each passage."""
    return sum(len(f"{query}{text}".encode(errors="replace")) for text in texts)


def _at(value: Any, path: list[str]) -> Any:
    """What lies at a path of a decoded JSON value; None where there is nothing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
