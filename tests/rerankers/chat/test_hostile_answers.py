"""Whatever an endpoint answers, a ranking comes out or one line says why not; the key is never in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerankers import StageClock, Usage
from rerankers.chat.completions import GrowingCompletion, read_completion
from rerankers.chat.conversation import ChatCall
from rerankers.endpoints.exchange import MOST_TOKENS
from rerankers.endpoints.failures import UnusableResponseError
from rerankers.endpoints.rerank_results import read_scores, tokens_reported
from rerankers.errors import RerankbenchError
from rerankers.interface import Cost
from tests.rerankers.chat.conftest import Reply

if TYPE_CHECKING:
    from rerankers.endpoints.exchange import Exchange
    from tests.rerankers.chat.conftest import MakeReranker, Requests

trial = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    max_examples=5000 if settings().max_examples > 1000 else 40,
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["choices", "message", "delta", "content", "finish_reason", "refusal", "usage", "model", "error"]
NAMES += ["prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"]
NAMES += ["cached_tokens", "reasoning_tokens", "reasoning_content", "system_fingerprint", "index", "results"]
NAMES += ["relevance_score", "total_tokens"]
answers: st.SearchStrategy[Any] = st.recursive(
    json_values,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=10,
)


def completion_with(part: str, value: Any) -> dict[str, Any]:
    """Return a good completion, one part of which is replaced."""
    message: dict[str, Any] = {"role": "assistant", "content": "[2] > [1]"}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
    usage: dict[str, Any] = {"prompt_tokens": 9, "completion_tokens": 5}
    whole: dict[str, Any] = {"model": "m", "choices": [choice], "usage": usage}
    holder = {"message": choice, "finish_reason": choice, "content": message, "refusal": message}
    place = holder.get(part, usage if part.endswith(("tokens", "details")) else whole)
    place[part] = value
    return whole


def call() -> ChatCall:
    return ChatCall([{"role": "user", "content": "rank"}], 10, Cost())


def assert_sound(exchange: Exchange) -> None:
    assert isinstance(exchange.text, str)
    for count in ("prompt_tokens", "cached_tokens", "generated_tokens", "reasoning_tokens"):
        value = getattr(exchange, count)
        assert isinstance(value, int)
        assert value >= 0
    json.dumps(exchange.served_model + exchange.fingerprint).encode()


@given(st.one_of(answers, st.builds(completion_with, st.sampled_from(NAMES), json_values)))
@trial
def test_a_completion_of_any_shape_is_read_or_asked_for_again(completion: Any) -> None:
    try:
        exchange = read_completion(completion, call())
    except UnusableResponseError:
        return
    assert_sound(exchange)


def chunk_with(part: str, value: Any) -> dict[str, Any]:
    """Return a good chunk of a stream, one part of which is replaced."""
    whole = completion_with(part, value)
    if isinstance(whole["choices"], list) and whole["choices"] and isinstance(whole["choices"][0], dict):
        whole["choices"][0]["delta"] = whole["choices"][0].pop("message", None)
    return whole


@given(st.lists(st.one_of(answers, st.builds(chunk_with, st.sampled_from(NAMES), json_values)), max_size=4))
@trial
def test_chunks_of_any_shape_are_read_or_asked_for_again(chunks: list[Any]) -> None:
    answer = GrowingCompletion(call())
    try:
        for chunk in chunks:
            answer.add(chunk)
        exchange = answer.finish()
    except UnusableResponseError:
        return
    assert_sound(exchange)


@given(answers, st.lists(json_values, max_size=3))
@settings(trial, max_examples=trial.max_examples // 3)
def test_a_rerank_response_of_any_shape_is_read_or_an_error(answer: Any, scores: list[Any]) -> None:
    good = [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]
    more = answer if isinstance(answer, list) else [answer]
    response = json.loads(json.dumps({"results": [*good, *more], "usage": answer}))
    usage = Usage()
    tokens = tokens_reported(response, ["usage", "total_tokens"])
    assert tokens is None or 0 < tokens <= MOST_TOKENS
    try:
        parsed_scores = read_scores(response, "results", "relevance_score", 3, usage)
    except UnusableResponseError:
        return
    assert parsed_scores
    assert set(parsed_scores) <= {0, 1, 2}
    assert all(abs(score) < 3.5e38 for score in parsed_scores.values())
    assert len(parsed_scores) + sum(usage.faults.values()) == len(response["results"])


@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize(
    "raw",
    [
        *("", "null", "[]", "{", "<html>\n<b>no</b>", '{"error": 3}', "[" * 5000),
        '{"error": {"message": ["a\\nb"], "code": {}}}',
        '{"choices": [{"message": {"content": {"a": 1}}}]}',
        '{"detail": "bad key secret-key"}',
    ],
)
def test_an_unusable_answer_ends_in_one_line_without_the_key(
    endpoint: Any, rankgpt: MakeReranker, requests: Requests, status: int, raw: str
) -> None:
    endpoint.reply = lambda _: Reply(status=status, raw=raw, headers={"retry-after": "0"})
    with pytest.raises(RerankbenchError) as caught:
        rankgpt(retries=1).rerank(requests[:1], StageClock())
    assert "\n" not in str(caught.value)
    assert "secret-key" not in str(caught.value)
