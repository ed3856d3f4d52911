"""Whatever an endpoint does, a call ends in time, in bounded memory and within the budget."""

from __future__ import annotations

import gzip
import json
import ssl
import time
import tracemalloc
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import StageClock, create
from rerankers.endpoints.client import LEAST_BOUND_BYTES, BoundedConnections
from rerankers.endpoints.prices import Budget, Price
from rerankers.errors import BackendError
from tests.faults.hostile import (
    Hostile,
    bomb,
    chunked,
    completion,
    drip,
    flood,
    passages_in,
    reply,
    scores,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rerankers import RerankRequest

DEADLINE_SECONDS = 0.4
STREAM = ("Content-Type: text/event-stream",)
CHUNK = {"choices": [{"delta": {"content": "[1]"}}]}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setattr("rerankers.endpoints.endpoint.FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hostile-test-key")
    server = Hostile()
    yield server
    server.close()


@pytest.fixture
def rank(hostile: Hostile, make_request: Callable[..., RerankRequest]) -> Callable[..., Any]:
    """Ranks three passages through the endpoint, by a chat model or a rerank API."""

    def run(name: str = "rankgpt", budget: Budget | None = None, **options: Any) -> Any:
        vendor_options = {"api": "vllm"} if name == "rerank-api" else {}
        root = hostile.root if vendor_options else f"{hostile.root}/v1"
        reranker = create(name, {"model": "m", "base_url": root, "retries": 0, **vendor_options, **options})
        try:
            if budget is not None:
                reranker.pay_from(budget)
            return reranker.rerank([make_request("query", ["a", "b", "c"])], StageClock())[0]
        finally:
            reranker.close()

    return run


CLIENTS: list[dict[str, Any]] = [
    {"name": "rankgpt"},
    {"name": "rankgpt", "stream": True},
    {"name": "rerank-api"},
]
by_client = pytest.mark.parametrize("client", CLIENTS, ids=["chat", "stream", "rerank"])


@by_client
@pytest.mark.parametrize("part", ["header", "body", "error"])
def test_a_dripping_response_ends_at_the_deadline(
    hostile: Hostile, rank: Callable[..., Any], client: dict[str, Any], part: str
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    acts = {
        "header": lambda request: drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000),
        "body": lambda request: chain([head], drip(b"data: " + b" " * 1000)),
        "error": lambda request: chain([head.replace(b"200 OK", b"500 No")], drip(b"x" * 1000)),
    }
    hostile.act = acts[part]
    started = time.perf_counter()
    with pytest.raises(BackendError, match=r"no whole response within 0\.4 s; timeout_seconds"):
        rank(timeout_seconds=DEADLINE_SECONDS, **client)
    assert time.perf_counter() - started < DEADLINE_SECONDS + 2


def test_a_stream_that_never_ends_ends_at_the_deadline(hostile: Hostile, rank: Callable[..., Any]) -> None:
    def endless(request: Any) -> Iterator[bytes]:
        while True:
            yield b"data: " + json.dumps(CHUNK).encode() + b"\n\n"
            time.sleep(0.01)

    hostile.act = lambda request: chunked(endless(request), *STREAM)
    with pytest.raises(BackendError, match="no whole response within"):
        rank(stream=True, timeout_seconds=DEADLINE_SECONDS)


@pytest.mark.parametrize(
    ("client", "kind"),
    [(client, kind) for client in CLIENTS for kind in ("spaces", "bomb", "line")] + [(CLIENTS[1], "events")],
    ids=str,
)
def test_a_flood_ends_at_the_bound_and_takes_little_memory(
    hostile: Hostile, rank: Callable[..., Any], client: dict[str, Any], kind: str
) -> None:
    packed = bomb()
    acts: dict[str, Any] = {
        "spaces": lambda request: chunked(flood(b" " * 2**16)),
        "bomb": lambda request: chunked(iter([packed]), "Content-Encoding: gzip"),
        "line": lambda request: chunked(chain([b"data: "], flood(b"x" * 2**16)), *STREAM),
        "events": lambda request: chunked(flood(b'data: {"choices": []}\n\n' * 2**10), *STREAM),
    }
    hostile.act = acts[kind]
    tracemalloc.start()
    try:
        with pytest.raises(BackendError, match=r"sent too much: a response of more than [\d,]+ bytes"):
            rank(**client)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * LEAST_BOUND_BYTES
    assert len(hostile.asked) == 1, "a flood is not asked for again"
    assert hostile.sent < 4 * LEAST_BOUND_BYTES  # what is under way in buffers included


@by_client
def test_a_packed_response_of_usual_size_is_read(
    hostile: Hostile, rank: Callable[..., Any], client: dict[str, Any]
) -> None:
    def packed(request: Any) -> Iterator[bytes]:
        assert request.headers["accept-encoding"] == "identity"
        body = scores(3) if "documents" in request.body else completion("[3] > [2] > [1]")
        text = json.dumps(body)
        if request.body.get("stream"):
            chunk = {"choices": [{"delta": {"content": "[3] > [2] > [1]"}, "finish_reason": "stop"}]}
            text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        yield reply(gzip.compress(text.encode()), Content_Encoding="gzip")

    hostile.act = packed
    assert rank(**client).doc_ids == ("d2", "d1", "d0")


@by_client
@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_passages_go_to_no_other_host(
    hostile: Hostile, rank: Callable[..., Any], client: dict[str, Any], status: str
) -> None:
    other = Hostile()
    target = f"{other.root}/elsewhere?key=sk-hostile-test-key"
    hostile.act = lambda request: iter([reply(b"", status, Location=target)])
    with pytest.raises(BackendError, match=rf"redirects to {other.root}/elsewhere, .*set base_url") as raised:
        rank(**client)
    other.close()
    assert not other.asked
    assert "sk-hostile" not in str(raised.value)


def test_a_redirect_within_the_host_is_followed_but_not_for_ever(
    hostile: Hostile, rank: Callable[..., Any]
) -> None:
    def moved(request: Any) -> Iterator[bytes]:
        is_there = request.path == "/new"
        yield reply(scores(3)) if is_there else reply(b"", "307 Temporary", Location="/new")

    hostile.act = moved
    assert rank("rerank-api").doc_ids == ("d2", "d1", "d0")
    assert [request.path for request in hostile.asked] == ["/v1/rerank", "/new"]
    hostile.act = lambda request: iter([reply(b"", "307 Temporary", Location="/new")])
    with pytest.raises(BackendError, match="redirects in a circle"):
        rank("rerank-api")


PRICE = {"input": 1000.0, "cached": 500.0, "output": 10000.0}
LIES: list[Any] = [
    {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 10**6}},
    {"prompt_tokens": 1e308, "completion_tokens": 10},
    {"prompt_tokens": 10**400, "completion_tokens": 10},
    {"prompt_tokens": True, "completion_tokens": 10},
    {"prompt_tokens": -5, "completion_tokens": 10},
    {"prompt_tokens": 100, "completion_tokens": "NaN"},
    {"prompt_tokens": 100.5, "completion_tokens": 10},
    {"prompt_tokens": "many", "completion_tokens": None},
    "lots",
    [],
]


@pytest.mark.parametrize("usage", LIES, ids=lambda usage: str(usage)[:40])
def test_usage_that_cannot_be_right_is_an_estimate_that_says_so(
    hostile: Hostile, rank: Callable[..., Any], tmp_path: Path, usage: Any
) -> None:
    hostile.act = lambda request: iter([reply(completion("[3] > [2] > [1]", usage=usage))])
    ledger = tmp_path / "spending.jsonl"
    ranking = rank(budget=Budget(5.0, ledger), price=PRICE)
    assert len(hostile.asked) == 1, "a good answer is not asked for again"
    assert ranking.doc_ids == ("d2", "d1", "d0")
    assert ranking.usage.calls_estimated == 1
    bytes_shown = sum(-(-len(message["content"]) // 4) for message in hostile.asked[0].body["messages"])
    assert ranking.usage.prompt_tokens == bytes_shown  # four bytes a token, each message rounded up
    assert ranking.usage.generated_tokens == -(-len("[3] > [2] > [1]") // 4)
    expected = Price(**PRICE).dollars(bytes_shown, 0, 4)
    assert Budget(5.0, ledger).spent == pytest.approx(expected)
    assert json.loads(ledger.read_text().splitlines()[-1])["is_estimate"] is True


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 100.0, "completion_tokens": 10.0},
        {"prompt_tokens": "100", "completion_tokens": "10"},
    ],
)
def test_usage_in_another_spelling_is_read(hostile: Hostile, rank: Callable[..., Any], usage: Any) -> None:
    hostile.act = lambda request: iter([reply(completion(usage=usage))])
    counted = rank().usage
    assert (counted.prompt_tokens, counted.generated_tokens, counted.calls_estimated) == (100, 10, 0)


def test_every_unusable_answer_is_paid_and_the_budget_holds(
    hostile: Hostile, rank: Callable[..., Any], tmp_path: Path
) -> None:
    """Each answer reports 0.25 dollars: the third attempt could exceed 0.70, and is not made."""
    useless = {"usage": {"prompt_tokens": 1500, "completion_tokens": 100}, "model": "m"}
    price = {"input": 100.0, "output": 1000.0}
    of_a_call = (1500 * 100 + 100 * 1000) / 1e6
    hostile.act = lambda request: iter([reply(useless)])
    ledger = tmp_path / "spending.jsonl"
    with pytest.raises(BackendError, match=r"budget of \$0\.70 \(\$0\.5000 are spent\)"):
        rank(budget=Budget(0.70, ledger), price=price, retries=9, max_new_tokens=200)
    assert len(hostile.asked) == 2
    assert Budget(1.0, ledger).spent == pytest.approx(2 * of_a_call)


def test_an_attempt_that_runs_out_of_time_is_paid_at_its_worst_case(
    hostile: Hostile, rank: Callable[..., Any], tmp_path: Path
) -> None:
    hostile.act = lambda request: drip(b"H" * 100)
    ledger = tmp_path / "spending.jsonl"
    with pytest.raises(BackendError, match="failed 2 times"):
        rank("rerank-api", budget=Budget(9.0, ledger), price={"calls": 500}, retries=1, timeout_seconds=0.1)
    assert Budget(9.0, ledger).spent == pytest.approx(2 * 500 / 1000)


@pytest.mark.parametrize("status", ["401 No", "429 Wait", "500 Broken"])
def test_a_refusal_costs_nothing(
    hostile: Hostile, rank: Callable[..., Any], tmp_path: Path, status: str
) -> None:
    hostile.act = lambda request: iter([reply(b"{}", status)])
    ledger = tmp_path / "spending.jsonl"
    with pytest.raises(BackendError):
        rank("rerank-api", budget=Budget(9.0, ledger), price={"calls": 500})
    hostile.close()
    with pytest.raises(BackendError):
        rank("rerank-api", budget=Budget(9.0, ledger), price={"calls": 500}, base_url="http://127.0.0.1:9")
    assert Budget(9.0, ledger).spent == 0


@pytest.mark.parametrize("score", [10**400, "1e39", "nan", True, None, [], 1e39])
def test_a_score_that_is_none_is_an_error_and_not_an_order(
    hostile: Hostile, rank: Callable[..., Any], score: Any
) -> None:
    results = [{"index": i, "relevance_score": score} for i in range(3)]
    hostile.act = lambda request: iter([reply({"results": results})])
    with pytest.raises(BackendError, match=r"none of 3 results .*fields index, relevance_score"):
        rank("rerank-api", retries=5)
    assert len(hostile.asked) == 1
    assert passages_in(hostile.asked[0]) == 3


@by_client
def test_an_encrypted_connection_that_breaks_is_reported_in_one_line(
    rank: Callable[..., Any], client: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library below lets this error through as it is; here it comes where a handshake has been made."""

    async def broken(connections: BoundedConnections, request: Any, **options: Any) -> Any:
        raise ssl.SSLError(1, "[SSL] bad record mac")

    monkeypatch.setattr(BoundedConnections, "send", broken)
    with pytest.raises(BackendError, match=r"the encrypted connection broke: .*bad record mac"):
        rank(**client)
