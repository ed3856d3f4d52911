"""Answers read as they grow: time to the first token, and ending once the answer is known."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import StageClock
from rerankers.endpoints.prices import Budget
from rerankers.errors import BackendError
from tests.rerankers.chat.conftest import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rerankers.chat.conftest import Endpoint, MakeRequest, MakeReranker, Requests


def test_a_streamed_answer_is_the_whole_answer(
    rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    whole = rankgpt().rerank(requests, clock)
    streamed = rankgpt(stream=True).rerank(requests, clock)
    assert [ranking.doc_ids for ranking in streamed] == [ranking.doc_ids for ranking in whole]
    assert not any(ranking.usage.faults for ranking in streamed)


def test_prefill_ends_with_the_first_token(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests
) -> None:
    endpoint.reply = lambda body: Reply("[1] > [2]", delay_seconds=0.2, token_seconds=0.02)
    ranking = rankgpt(stream=True, window=0).rerank(requests[:1], StageClock(time.perf_counter))[0]
    assert set(ranking.stage_seconds) == {"prompt", "prefill", "decode", "parse", "order"}
    assert ranking.stage_seconds["prefill"] >= 0.2  # the server waits so long before the first token
    assert ranking.stage_seconds["decode"] >= 0.02 * 6  # seven tokens: [ 1 ] > [ 2 ] joined by signs


def test_the_top_is_that_of_full_answers_for_at_least_40_percent_fewer_tokens(
    rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    request = make_request("query", [str((i * 37) % 100) for i in range(100)])
    full = rankgpt(stream=True).rerank([request], clock)[0]
    ended = rankgpt(stream=True, top=10).rerank([request], clock)[0]
    assert ended.doc_ids[:10] == full.doc_ids[:10]
    assert ended.usage.generated_tokens <= 0.6 * full.usage.generated_tokens
    real_saving = full.usage.generated_tokens - ended.usage.generated_tokens
    assert ended.usage.tokens_saved == pytest.approx(real_saving, rel=0.15)
    assert full.usage.tokens_saved == 0
    assert not ended.usage.faults


@pytest.mark.parametrize("top", [1, 5, 17, 20, 30, 45])
@pytest.mark.parametrize("depth", [3, 20, 45, 100])
def test_any_top_is_that_of_full_answers(
    rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock, top: int, depth: int
) -> None:
    request = make_request("query", [str((i * 37) % 101) for i in range(depth)])
    full = rankgpt(stream=True).rerank([request], clock)[0]
    ended = rankgpt(stream=True, top=top).rerank([request], clock)[0]
    assert ended.doc_ids[:top] == full.doc_ids[:top]


def test_usage_survives_ending_an_answer_early(
    rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    reranker = rankgpt(stream=True, top=1, window=0)
    usage = reranker.rerank(requests[:1], clock)[0].usage
    assert usage.prompt_tokens == 100
    assert reranker.describe()["tokens_counted_by"] == "the endpoint"


def test_a_server_without_stream_options_is_asked_without(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    flawless = endpoint.reply
    refusal = Reply(status=422, raw='{"detail": "Unsupported fields: {\'stream_options\'}"}')
    endpoint.reply = lambda body: refusal if "stream_options" in body else flawless(body)
    reranker = rankgpt(stream=True, concurrency=1)
    reranker.rerank(requests[:2], clock)
    assert len(endpoint.bodies) == 5  # four windows and one refusal
    assert "estimate" in str(reranker.describe()["tokens_counted_by"])


def test_a_stream_that_breaks_is_asked_for_again(
    endpoint: Endpoint,
    rankgpt: MakeReranker,
    requests: Requests,
    clock: StageClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rerankers.endpoints.endpoint.FIRST_WAIT_SECONDS", 0.01)
    flawless = endpoint.reply
    expected = rankgpt(stream=True).rerank(requests[:1], clock)[0]
    replies = iter([Reply("[1] > [2] > [3]", cut=True), Reply(raw="{}"), Reply("")])
    endpoint.reply = lambda body: next(replies, None) or flawless(body)
    ranking = rankgpt(stream=True, window=0).rerank(requests[:1], clock)[0]
    endpoint.reply = flawless
    assert ranking.stage_seconds["prefill"] == 1  # one tick: failed attempts are charged to nothing
    assert sorted(ranking.doc_ids) == sorted(expected.doc_ids)


def test_an_error_in_a_stream_is_a_failure(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply(raw='data: {"error": {"message": "out of memory"}}\n\n')
    with pytest.raises(BackendError, match="out of memory"):
        rankgpt(stream=True, retries=0).rerank(requests[:1], clock)


def usage_at_the_end(body: dict[str, Any], tokens_after: int) -> str:
    """Return a stream as OpenAI sends it: usage once, in a chunk of its own, after the rest of the answer."""
    texts = ["[2]", " > ", "[1]", *[" ."] * tokens_after]
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": {"content": text}}]} for text in texts]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 1234, "completion_tokens": len(texts)}})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


@pytest.mark.parametrize("tokens_after", [0, 2])
def test_usage_that_comes_after_the_last_identifier_is_read(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock, tokens_after: int
) -> None:
    endpoint.reply = lambda body: Reply(raw=usage_at_the_end(body, tokens_after))
    reranker = rankgpt(stream=True, price={"input": 1000.0, "output": 0.0})
    [ranking] = reranker.rerank([make_request("query", ["a", "b"])], clock)
    assert ranking.doc_ids == ("d1", "d0")
    assert (ranking.usage.prompt_tokens, ranking.usage.generated_tokens) == (1234, 3 + tokens_after)
    assert ranking.usage.dollars == pytest.approx(1234 * 1000 / 1e6)
    assert ranking.usage.calls_estimated == 0
    assert reranker.describe()["tokens_counted_by"] == "the endpoint"


def test_an_answer_that_is_ended_long_before_its_usage_is_an_estimate_for_that_reason(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock, tmp_path: Path
) -> None:
    endpoint.reply = lambda body: Reply(raw=usage_at_the_end(body, 100))
    ledger = tmp_path / "spending.jsonl"
    reranker = rankgpt(stream=True, price={"input": 1000.0, "output": 0.0})
    reranker.pay_from(Budget(9.0, ledger))
    [ranking] = reranker.rerank([make_request("query", ["a", "b"])], clock)
    assert ranking.usage.calls_estimated == 1
    assert ranking.usage.generated_tokens < 3 + 100
    assert "stream was ended before its usage came" in str(reranker.describe()["tokens_counted_by"])
    assert json.loads(ledger.read_text().splitlines()[-1])["is_estimate"] is True


def test_usage_of_the_first_chunk_does_not_count_the_last(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    first = {
        "choices": [{"delta": {"content": "[2]"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
    last = {"choices": [{"delta": {"content": " > [1]"}, "finish_reason": "stop"}]}
    raw = f"data: {json.dumps(first)}\n\ndata: {json.dumps(last)}\n\ndata: [DONE]\n\n"
    endpoint.reply = lambda body: Reply(raw=raw)
    [ranking] = rankgpt(stream=True).rerank([make_request("query", ["a", "b"])], clock)
    assert ranking.usage.calls_estimated == 1
    assert ranking.usage.generated_tokens == 2  # one a chunk
