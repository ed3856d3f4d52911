"""What an endpoint refuses is repeated, answered by what it takes, or said in one line with the remedy."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING

import pytest

from rerankers.errors import BackendError
from tests.rerankers.chat.conftest import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers import StageClock
    from tests.rerankers.chat.conftest import Body, Endpoint, MakeRequest, MakeReranker, Requests


CONTENT_FILTER = json.dumps({"error": {"code": "content_filter", "message": "no"}})


def test_a_content_filter_loses_no_query_and_is_counted(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    flawless = endpoint.reply
    rng = random.Random(1)
    injected: list[Reply] = []

    def filtering(body: Body) -> Reply:
        if rng.random() >= 0.3:
            return flawless(body)
        injected.append(Reply(None, finish_reason="content_filter"))
        return injected[-1]

    endpoint.reply = filtering
    rankings = rankgpt().rerank(requests, clock)
    assert len(injected) > 4
    assert sum(ranking.usage.faults.get("refused", 0) for ranking in rankings) == len(injected)
    assert len(endpoint.bodies) == 2 * len(
        requests
    )  # an answer that was filtered is paid for: none is asked again
    assert [len(ranking.doc_ids) for ranking in rankings] == [30] * len(requests)


def test_a_prompt_that_a_filter_always_refuses_is_asked_three_times(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply(status=400, raw=CONTENT_FILTER)
    [ranking] = rankgpt().rerank(requests[:1], clock)
    assert len(endpoint.bodies) == 3 * 2  # windows
    assert ranking.usage.faults["refused"] == 2
    assert list(ranking.doc_ids) == [candidate.doc_id for candidate in requests[0].candidates]


@pytest.mark.parametrize(
    ("status", "error", "remedy"),
    [
        (401, {"message": "Incorrect API key"}, "OPENAI_API_KEY"),
        (403, {"message": "no access"}, "key that may use"),
        (404, {"message": "no such model"}, "model's name and base_url"),
        (400, {"message": "context too long"}, "context too long"),
        (429, {"message": "You exceeded", "code": "insufficient_quota"}, "out of quota"),
    ],
)
def test_what_cannot_pass_ends_the_run_at_once_with_the_remedy(
    endpoint: Endpoint,
    rankgpt: MakeReranker,
    requests: Requests,
    clock: StageClock,
    status: int,
    error: dict[str, str],
    remedy: str,
) -> None:
    endpoint.reply = lambda body: Reply(status=status, raw=json.dumps({"error": error}))
    reranker = rankgpt(concurrency=2)
    with pytest.raises(BackendError, match=remedy) as raised:
        reranker.rerank(requests, clock)
    assert "\n" not in str(raised.value)
    assert len(endpoint.bodies) <= 2
    with pytest.raises(BackendError, match=remedy):
        reranker.rerank(requests, clock)
    assert len(endpoint.bodies) <= 2


def test_a_key_that_an_error_quotes_is_not_passed_on(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    message = json.dumps({"error": {"message": "Incorrect API key provided: secret-key."}})
    endpoint.reply = lambda body: Reply(status=401, raw=message)
    with pytest.raises(BackendError, match=r"provided: \$OPENAI_API_KEY\.") as raised:
        rankgpt().rerank(requests[:1], clock)
    assert "secret-key" not in str(raised.value)


UNSUPPORTED_LIMIT = {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead.",
    "param": "max_tokens",
    "code": "unsupported_parameter",
}


UNSUPPORTED_TEMPERATURE = {
    "message": "Unsupported value: 'temperature' does not support 0 with this model. "
    "Only the default (1) value is supported.",
    "param": "temperature",
    "code": "unsupported_value",
}


def test_options_that_an_endpoint_refuses_are_left_out_and_remembered(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock, tmp_path: Path
) -> None:
    flawless = endpoint.reply

    def reasoning_model(body: Body) -> Reply:
        for name, error in (("max_tokens", UNSUPPORTED_LIMIT), ("temperature", UNSUPPORTED_TEMPERATURE)):
            if name in body:
                return Reply(status=400, raw=json.dumps({"error": error}))
        return flawless(body)

    endpoint.reply = reasoning_model
    reranker = rankgpt(recording=tmp_path / "a.sqlite", concurrency=1)
    first = reranker.rerank(requests[:2], clock)
    assert len(endpoint.bodies) == 4 + 2  # two windows a query; each option is refused once
    assert endpoint.bodies[-1]["max_completion_tokens"] == endpoint.bodies[0]["max_tokens"]
    assert sum(ranking.usage.retries for ranking in first) == 0
    described = reranker.describe()
    assert described["options_refused"] == ["max_tokens", "temperature"]
    assert "drawn at random" in str(described["notice"])
    endpoint.bodies.clear()
    replaying = rankgpt(recording=tmp_path / "a.sqlite")
    assert [ranking.doc_ids for ranking in replaying.rerank(requests[:2], clock)] == [
        ranking.doc_ids for ranking in first
    ]
    assert not endpoint.bodies, "the recording knows the request as the options say it"
    assert replaying.describe()["options_refused"] == ["max_tokens", "temperature"]


def test_turns_that_an_endpoint_refuses_are_joined_and_remembered(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    flawless = endpoint.reply

    def gemma(body: Body) -> Reply:
        roles = [message["role"] for message in body["messages"]]
        if "system" in roles:
            return Reply(status=400, raw=json.dumps({"message": "System role not supported"}))
        return flawless(body)

    reranker = rankgpt(concurrency=1)
    expected = [ranking.doc_ids for ranking in reranker.rerank(requests[:2], clock)]
    turns = endpoint.bodies[0]["messages"]
    assert [turn["role"] for turn in turns[:2]] == ["system", "user"]
    endpoint.bodies.clear()
    endpoint.reply = gemma
    joining = rankgpt(concurrency=1)
    assert [ranking.doc_ids for ranking in joining.rerank(requests[:2], clock)] == expected
    assert len(endpoint.bodies) == 4 + 1  # refused once
    joined = endpoint.bodies[1]["messages"]
    assert joined[0]["role"] == "user"
    assert joined[0]["content"] == f"{turns[0]['content']}\n\n{turns[1]['content']}"
    assert len(joined) == len(turns) - 1
    assert joining.describe()["options_refused"] == ["system_turn"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "max_tokens is too large: 5000. This model supports at most 4096 completion tokens"),
        ({"temperature": 3}, "temperature 3 is not supported; use 0 to 2"),
        ({}, "This model's maximum context length is 4096 tokens"),
    ],
)
def test_a_value_that_is_refused_is_for_the_user_to_change(
    endpoint: Endpoint,
    rankgpt: MakeReranker,
    requests: Requests,
    clock: StageClock,
    options: dict[str, float],
    message: str,
) -> None:
    endpoint.reply = lambda body: Reply(status=400, raw=json.dumps({"error": {"message": message}}))
    with pytest.raises(BackendError, match=re.escape(message)):
        rankgpt(concurrency=1, **options).rerank(requests[:1], clock)
    assert len(endpoint.bodies) == 1


PRETTY = json.dumps({"error": {"code": 400, "message": "API key not valid", "status": "INVALID"}}, indent=2)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (PRETTY, "API key not valid"),
        (f"[{PRETTY}]", "API key not valid"),
        (json.dumps({"error": {"message": PRETTY}}), "API key not valid"),
        ('{"detail": "no such route"}', "no such route"),
        ('{"detail": [{"loc": ["body", "n"], "msg": "too many", "type": "x"}]}', "body.n: too many"),
        ('{"object": "error", "message": "model  not\\n found", "code": 40401}', "model not found"),
        ('{"error": "Bad Request", "message": "n is too large"}', "n is too large"),
        ('{"error": "batch too large", "error_type": "Validation"}', "batch too large"),
        ('{"errors": [{"message": "a"}, {"message": "b"}]}', "a; b"),
        ("<html><head><title>403 Forbidden</title></head><body><h1>No</h1></body></html>", "403 Forbidden"),
        ("<h1>Not\n here</h1><p>nginx</p>", "Not here nginx"),
        ("plain\nwords", "plain words"),
        ("", "without a word"),
        ('{"unknown": {"shape": 1}}', '{"unknown": {"shape": 1}}'),
    ],
)
def test_an_error_of_any_shape_is_its_message_in_one_line(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock, raw: str, says: str
) -> None:
    endpoint.reply = lambda body: Reply(status=400, raw=raw)
    with pytest.raises(
        BackendError, match=rf"refuses with status 400: {re.escape(says)}; change the options"
    ):
        rankgpt().rerank(requests[:1], clock)


def test_a_failure_waits_for_the_answers_under_way_and_hands_over_what_they_finish(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock, tmp_path: Path
) -> None:
    """Four queries of one call are under way; the second one's key is refused while the others run."""

    def reply(body: Body) -> Reply:
        if "revoked query" in json.dumps(body["messages"]):
            return Reply(status=401, raw='{"error": {"message": "revoked"}}')
        return Reply("[2] > [1]", delay_seconds=0.2)

    endpoint.reply = reply
    queries = [make_request(f"query {q}", ["a", "b"], query_id=f"q{q}") for q in range(10, 14)]
    queries[1] = make_request("revoked query", ["a", "b"], query_id="q1")
    reranker = rankgpt(concurrency=3, recording=tmp_path / "a.sqlite")
    with pytest.raises(BackendError, match="revoked") as raised:
        reranker.rerank(queries, clock)
    assert [ranking.query_id for ranking in raised.value.finished] == ["q10", "q12"]
    assert len(endpoint.bodies) == 3, "no further call begins"
    endpoint.bodies.clear()
    endpoint.reply = lambda body: Reply("[2] > [1]")
    rankgpt(recording=tmp_path / "a.sqlite").rerank(queries, clock)
    assert len(endpoint.bodies) == 2, "the answers under way were kept"
