"""Rerank endpoints over a real HTTP server: shapes, faults, recordings and dollars."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.endpoints.prices import Budget
from rerankers.errors import BackendError, InputError
from tests.servers import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TEXTS = ["alpha", "beta", "gamma"]
SCORES = {"alpha": 0.1, "beta": 0.9, "gamma": 0.5}


class Endpoint(BaseHTTPRequestHandler):
    """Plays back queued (status, headers, body) answers; afterwards scores by `SCORES` in the asked shape."""

    queued: ClassVar[list[tuple[int, dict[str, str], str]]] = []
    seen: ClassVar[list[tuple[str, dict[str, Any], str | None]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, body, self.headers.get("Authorization")))
        status, headers, text = self.queued.pop(0) if self.queued else (200, {}, self.answer(body))
        payload = text.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def answer(self, body: dict[str, Any]) -> str:
        texts = body.get("texts") or body["documents"]
        if "texts" in body:
            return json.dumps([{"index": i, "score": SCORES[text]} for i, text in enumerate(texts)])
        results = [{"index": i, "relevance_score": SCORES[text]} for i, text in enumerate(texts)]
        usage = {"total_tokens": 1000}
        return json.dumps({"results": results, "data": results, "usage": usage})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    Endpoint.queued.clear()
    Endpoint.seen.clear()
    with serving(Endpoint) as url:
        yield url


@pytest.fixture
def rank(make_request: Callable[..., RerankRequest], clock: StageClock) -> Callable[..., Any]:
    def run(options: dict[str, Any]) -> Any:
        reranker = create("rerank-api", options)
        try:
            return reranker.rerank([make_request("which letter", TEXTS)], clock)[0]
        finally:
            reranker.close()

    return run


@pytest.mark.parametrize(
    ("api", "path", "tokens"),
    [
        ("jina", "/", 1000),
        ("cohere", "/", None),
        ("voyage", "/", 1000),
        ("vllm", "/v1/rerank", 1000),
        ("infinity", "/rerank", None),
        ("tei", "/rerank", None),
    ],
)
def test_each_api_is_asked_and_read_in_its_own_shape(
    api: str, path: str, tokens: int | None, endpoint: str, rank: Callable[..., Any]
) -> None:
    model = None if api == "tei" else "some-reranker"
    ranking = rank({"api": api, "model": model, "base_url": endpoint})
    assert ranking.doc_ids == ("d1", "d2", "d0")
    assert ranking.scores == pytest.approx((0.9, 0.5, 0.1))
    ((asked_path, body, _),) = Endpoint.seen
    assert asked_path == path
    assert body["query"] == "which letter"
    assert body["texts" if api == "tei" else "documents"] == TEXTS
    # Where the server counts characters or nothing: 3 queries of 12 bytes, 5 + 4 + 5 bytes, 4 to a token.
    assert ranking.usage.prompt_tokens == (tokens or -(-(3 * 12 + 14) // 4))
    assert ranking.usage.calls_estimated == (tokens is None)
    assert ranking.usage.llm_calls == 1
    assert ranking.usage.dollars == 0.0


def test_the_key_comes_from_the_environment_and_is_not_described(
    endpoint: str, rank: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    options = {"api": "vllm", "model": "m", "base_url": endpoint}
    rank(options)
    assert Endpoint.seen[0][2] == "Bearer sesame"
    assert "sesame" not in json.dumps(create("rerank-api", options).describe())


def test_a_recorded_answer_is_not_asked_for_again_and_takes_the_time_it_took(
    endpoint: str, make_request: Callable[..., RerankRequest], tmp_path: Path
) -> None:
    options = {"api": "vllm", "model": "m", "base_url": endpoint, "recording": tmp_path / "answers.sqlite"}
    rankings = []
    for _ in range(2):
        reranker = create("rerank-api", options)
        rankings += reranker.rerank([make_request("which letter", TEXTS)], StageClock())
        reranker.close()
    assert len(Endpoint.seen) == 1
    assert rankings[0].doc_ids == rankings[1].doc_ids
    assert rankings[0].stage_seconds["forward"] == rankings[1].stage_seconds["forward"]
    assert reranker.describe()["calls_replayed"] == 1


def test_more_passages_than_one_call_takes_are_sent_in_several(
    endpoint: str, rank: Callable[..., Any]
) -> None:
    ranking = rank({"api": "tei", "base_url": endpoint, "passages_per_call": 2})
    assert [len(body["texts"]) for _, body, _ in Endpoint.seen] == [2, 1]
    assert ranking.doc_ids == ("d1", "d2", "d0")


def test_a_failure_that_may_pass_is_waited_out_as_long_as_asked(
    endpoint: str, rank: Callable[..., Any]
) -> None:
    busy = (429, {"Retry-After": "0"}, "busy")
    Endpoint.queued += [busy, (503, {"Retry-After": "0"}, "starting"), (200, {"X": "cut"}, '{"resul')]
    ranking = rank({"api": "vllm", "model": "m", "base_url": endpoint})
    assert ranking.doc_ids == ("d1", "d2", "d0")
    assert len(Endpoint.seen) == 4
    # Only the attempt that succeeds is charged: one second on a clock that ticks once a reading.
    assert ranking.stage_seconds == {"forward": 1.0, "parse": 1.0, "order": 1.0}


def test_a_wrong_key_ends_the_run_at_once_and_says_what_to_set(
    endpoint: str, rank: Callable[..., Any]
) -> None:
    Endpoint.queued.append((401, {}, "who are you"))
    with pytest.raises(BackendError, match="set JINA_API_KEY to a valid key"):
        rank({"api": "jina", "model": "m", "base_url": endpoint})
    assert len(Endpoint.seen) == 1


def test_an_endpoint_that_keeps_failing_is_given_up(endpoint: str, rank: Callable[..., Any]) -> None:
    Endpoint.queued += [(500, {"Retry-After": "0"}, "broken")] * 2
    with pytest.raises(BackendError, match="failed 2 times in a row: status 500"):
        rank({"api": "vllm", "model": "m", "base_url": endpoint, "retries": 1})


def test_an_answer_of_another_api_says_what_to_check(endpoint: str, rank: Callable[..., Any]) -> None:
    Endpoint.queued.append((200, {}, '{"data": []}'))
    with pytest.raises(BackendError, match=r"no results in .*; check api and base_url"):
        rank({"api": "vllm", "model": "m", "base_url": endpoint, "retries": 0})


def test_a_bad_answer_loses_no_passage_and_counts_every_fault(
    endpoint: str, rank: Callable[..., Any]
) -> None:
    results = [
        {"index": 2, "relevance_score": 0.7},
        {"index": 2, "relevance_score": 0.1},
        {"index": 9, "relevance_score": 0.9},
        {"index": 0, "relevance_score": "high"},
    ]
    Endpoint.queued.append((200, {}, json.dumps({"results": results})))
    ranking = rank({"api": "vllm", "model": "m", "base_url": endpoint})
    assert ranking.doc_ids == ("d2", "d0", "d1")
    assert ranking.usage.faults == {"duplicate": 1, "out_of_range": 1, "malformed": 1, "missing": 2}


def test_queries_are_asked_concurrently_and_answered_in_order(
    endpoint: str, make_request: Callable[..., RerankRequest]
) -> None:
    reranker = create("rerank-api", {"api": "vllm", "model": "m", "base_url": endpoint})
    requests = [make_request(f"query {i}", TEXTS, query_id=str(i)) for i in range(12)]
    rankings = reranker.rerank(requests, StageClock())
    assert [ranking.query_id for ranking in rankings] == [str(i) for i in range(12)]
    reranker.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"api": "vllm", "model": "m"}, "set base_url"),
        ({"api": "jina", "model": "m"}, "set JINA_API_KEY"),
        ({"api": "cohere"}, "set model"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_sent(
    options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JINA_API_KEY", raising=False)
    with pytest.raises(InputError, match=says):
        create("rerank-api", options)


@pytest.mark.parametrize(
    ("price", "dollars"), [({"tokens": 20.0}, 1000 * 20 / 1e6), ({"calls": 2.0}, 2 / 1e3)]
)
def test_dollars_are_those_of_the_calls_paid_or_replayed(
    price: dict[str, float], dollars: float, endpoint: str, rank: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"api": "jina", "model": "m", "base_url": endpoint, "recording": tmp_path / "answers.sqlite"}
    for replayed in (0, 1):
        usage = rank({**options, "price": price}).usage
        assert usage.dollars == pytest.approx(dollars)
        assert usage.calls_replayed == replayed
    assert len(Endpoint.seen) == 1


def test_a_budget_is_never_exceeded_and_used_as_far_as_it_goes(
    endpoint: str, make_request: Callable[..., RerankRequest], tmp_path: Path
) -> None:
    requests = [make_request(f"query {i}", TEXTS, query_id=str(i)) for i in range(12)]
    spent = []
    for dollars in (0.011, 0.021):  # two dollars per thousand calls
        reranker = create(
            "rerank-api", {"api": "cohere", "model": "m", "base_url": endpoint, "price": {"calls": 2}}
        )
        reranker.pay_from(Budget(dollars, tmp_path / "spending.jsonl"))
        with pytest.raises(BackendError, match=rf"budget of \${dollars:.2f} .* raise the budget"):
            reranker.rerank(requests, StageClock())
        reranker.close()
        spent.append(len(Endpoint.seen))
    assert spent == [5, 10]
    assert Budget(1.0, tmp_path / "spending.jsonl").spent == pytest.approx(10 * 0.002)


def test_a_token_count_that_is_none_is_estimated(endpoint: str, rank: Callable[..., Any]) -> None:
    results = [{"index": i, "relevance_score": 0.5} for i in range(3)]
    for reported in (-5, "many", None):
        Endpoint.queued.append(
            (200, {}, json.dumps({"results": results, "usage": {"total_tokens": reported}}))
        )
        usage = rank({"api": "vllm", "model": "m", "base_url": endpoint}).usage
        assert usage.prompt_tokens == -(-(3 * 12 + 14) // 4)
        assert usage.calls_estimated == 1


def test_text_that_utf_8_cannot_write_is_sent_all_the_same(
    endpoint: str, make_request: Callable[..., RerankRequest]
) -> None:
    Endpoint.queued.append((200, {}, '{"results": [{"index": 1, "relevance_score": 0.5}]}'))
    reranker = create("rerank-api", {"api": "cohere", "model": "m", "base_url": endpoint})
    ranking = reranker.rerank([make_request("half a pair \ud800", ["a", "b \udfff"])], StageClock())[0]
    reranker.close()
    assert ranking.doc_ids == ("d1", "d0")
    assert len(Endpoint.seen) == 1


def test_a_budget_is_refused_where_nobody_says_what_a_vendor_charges(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_API_KEY", "secret")
    vendor = create("rerank-api", {"api": "jina", "model": "m"})
    with pytest.raises(InputError, match="option price"):
        vendor.pay_from(Budget(1.0))
    vllm = create("rerank-api", {"api": "vllm", "model": "m", "base_url": endpoint})
    vllm.pay_from(Budget(0.0))
    for reranker in (vendor, vllm):
        reranker.close()


@pytest.mark.parametrize(
    "results",
    [
        [{"document_index": i, "relevance_score": SCORES[text]} for i, text in enumerate(TEXTS)],
        [{"index": str(i), "score": str(SCORES[text])} for i, text in enumerate(TEXTS)],
        [{"index": float(i), "score": SCORES[text]} for i, text in enumerate(TEXTS)],
    ],
    ids=["document_index", "texts", "floats"],
)
def test_results_are_read_in_every_known_spelling(
    endpoint: str, rank: Callable[..., Any], results: list[dict[str, Any]]
) -> None:
    Endpoint.queued.append((200, {}, json.dumps({"results": results})))
    ranking = rank({"api": "vllm", "model": "m", "base_url": endpoint})
    assert ranking.doc_ids == ("d1", "d2", "d0")
    assert ranking.scores == pytest.approx((0.9, 0.5, 0.1))
    assert not ranking.usage.faults
    assert ranking.usage.well_formed == 1


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ([{"index": i, "relevance_score": None} for i in range(3)], "fields index, relevance_score"),
        ([{"position": i, "logit": 0.5} for i in range(3)], "fields logit, position"),
        ([{"index": i, "relevance_score": 0.5} for i in (3, 4, 5)], "an index below 3"),
        ([0.1, 0.2, 0.3], "none of 3 results"),
        ([], "none of 0 results"),
    ],
)
def test_a_response_without_a_readable_score_is_an_error_and_not_the_given_order(
    endpoint: str, rank: Callable[..., Any], results: list[Any], says: str
) -> None:
    Endpoint.queued.append((200, {}, json.dumps({"results": results})))
    with pytest.raises(BackendError, match=says):
        rank({"api": "vllm", "model": "m", "base_url": endpoint})
    assert len(Endpoint.seen) == 1, "the same form would come again, and be paid again"


@pytest.mark.parametrize(
    ("api", "field", "value"),
    [("vllm", "use_activation", True), ("tei", "raw_scores", False), ("infinity", "raw_scores", False)],
)
def test_all_servers_are_asked_for_activated_scores(
    api: str, field: str, value: bool, endpoint: str, rank: Callable[..., Any]
) -> None:
    options = {"api": api, "model": None if api == "tei" else "m", "base_url": endpoint}
    rank(options)
    assert Endpoint.seen[0][1][field] is value
    assert create("rerank-api", options).describe()["scores"] == "activated"


def test_a_query_in_the_address_stays_behind_the_path(endpoint: str, rank: Callable[..., Any]) -> None:
    rank({"api": "vllm", "model": "m", "base_url": f"{endpoint}/prefix/?version=2"})
    assert Endpoint.seen[0][0] == "/prefix/v1/rerank?version=2"


def test_a_limit_of_passages_takes_the_place_of_a_limit_of_the_prompt(
    endpoint: str, rank: Callable[..., Any]
) -> None:
    rank({"api": "vllm", "model": "m", "base_url": endpoint, "passage_tokens": 400})
    body = Endpoint.seen[0][1]
    assert body["max_tokens_per_doc"] == 400
    assert "truncate_prompt_tokens" not in body  # it would cut the end of a score template
    with pytest.raises(InputError, match="tei takes no passage_tokens"):
        create("rerank-api", {"api": "tei", "base_url": endpoint, "passage_tokens": 400})
