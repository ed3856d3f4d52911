"""The openai backend against a real HTTP server: concurrency, faults, accounting."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import openai
import pytest

from rerankers.chat.openai_client import OpenAIClient
from rerankers.endpoints.endpoint import Endpoint as ChatEndpoint
from rerankers.endpoints.endpoint import address
from rerankers.errors import BackendError, InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import Reranker, RerankRequest, StageClock
    from tests.rerankers.chat.conftest import Body, Endpoint, Reply

    MakeRequest = Callable[..., RerankRequest]
    MakeReply = type[Reply]


BANNED = json.dumps({"error": {"code": "content_filter", "message": "no"}})


def test_queries_run_side_by_side_up_to_the_concurrency(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
) -> None:
    endpoint.reply = lambda body: make_reply("[2]", delay_seconds=0.05)
    rankgpt(concurrency=4).rerank(requests, clock)
    assert endpoint.most_at_once == 4
    assert len(endpoint.bodies) == 32


def test_connections_are_kept_from_call_to_call(
    endpoint: Endpoint, rankgpt: Callable[..., Reranker], requests: list[RerankRequest], clock: StageClock
) -> None:
    reranker = rankgpt(concurrency=2)
    for _ in range(3):
        reranker.rerank(requests, clock)
    assert len(endpoint.bodies) == 96
    assert endpoint.connections <= 2


def test_faults_change_no_ranking_and_lose_no_query(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rerankers.endpoints.endpoint.FIRST_WAIT_SECONDS", 0.01)
    flawless = endpoint.reply
    expected = [ranking.doc_ids for ranking in rankgpt().rerank(requests, clock)]
    rng = random.Random(0)
    faults = [
        lambda: make_reply(status=429, raw="{}", headers={"Retry-After": "0.02"}),
        lambda: make_reply(status=429, raw="{}", headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        lambda: make_reply(status=500, raw="{}"),
        lambda: make_reply(status=503, raw="overloaded"),
        lambda: make_reply("late", delay_seconds=1.5),
        lambda: make_reply("half", cut=True),
        lambda: make_reply(reset=True),
        lambda: make_reply(raw='{"choices": [{"index": 0, "mess'),
        lambda: make_reply(raw='{"choices": []}'),
        lambda: make_reply(raw='{"error": {"message": "try again"}}'),
        lambda: make_reply(raw='[1, "two"]'),
        lambda: make_reply(raw="<html>gateway</html>"),
        lambda: make_reply(raw='{"choices": [{}]}'),
        lambda: make_reply(status=400, raw=BANNED),
    ]
    injected: list[int] = []

    def faulty(body: Body) -> Reply:
        if rng.random() < 0.3 or len(injected) < len(faults):
            injected.append(len(injected) % len(faults))
            return faults[injected[-1]]()
        return flawless(body)

    endpoint.reply = faulty
    reranker = rankgpt(timeout_seconds=1.0, retries=20)
    rankings = reranker.rerank(requests, clock)
    assert set(injected) == set(range(len(faults)))
    assert [ranking.doc_ids for ranking in rankings] == expected
    assert all(ranking.usage.llm_calls == 2 for ranking in rankings)
    assert sum(ranking.usage.retries for ranking in rankings) >= len(injected)
    assert not any(ranking.usage.faults for ranking in rankings)


def test_a_content_filter_loses_no_query_and_is_counted(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
) -> None:
    flawless = endpoint.reply
    rng = random.Random(1)
    injected: list[Reply] = []

    def filtering(body: Body) -> Reply:
        if rng.random() >= 0.3:
            return flawless(body)
        injected.append(make_reply(None, finish_reason="content_filter"))
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
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
) -> None:
    endpoint.reply = lambda body: make_reply(status=400, raw=BANNED)
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
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
    status: int,
    error: dict[str, str],
    remedy: str,
) -> None:
    endpoint.reply = lambda body: make_reply(status=status, raw=json.dumps({"error": error}))
    reranker = rankgpt(concurrency=2)
    with pytest.raises(BackendError, match=remedy) as raised:
        reranker.rerank(requests, clock)
    assert "\n" not in str(raised.value)
    assert len(endpoint.bodies) <= 2
    with pytest.raises(BackendError, match=remedy):
        reranker.rerank(requests, clock)
    assert len(endpoint.bodies) <= 2


def test_an_endpoint_that_never_recovers_is_given_up_by_name(
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    clock: StageClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rerankers.endpoints.endpoint.FIRST_WAIT_SECONDS", 0.01)
    reranker = rankgpt(base_url="http://127.0.0.1:9/v1", retries=2)
    with pytest.raises(BackendError, match=r"127.0.0.1.* failed 3 times .* whether it is up"):
        reranker.rerank(requests, clock)


def test_a_wait_of_hours_is_not_waited_out(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
) -> None:
    endpoint.reply = lambda body: make_reply(status=429, raw="{}", headers={"Retry-After": "7200"})
    with pytest.raises(BackendError, match="asks to wait 7200 s"):
        rankgpt().rerank(requests, clock)


def test_tokens_are_counted_as_the_endpoint_reports_them(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
) -> None:
    reported = {
        "prompt_tokens": 1000,
        "completion_tokens": 70,
        "total_tokens": 1070,
        "prompt_tokens_details": {"cached_tokens": 600},
    }
    endpoint.reply = lambda body: make_reply("[1]", usage=reported)
    reranker = rankgpt()
    usage = reranker.rerank(requests[:1], clock)[0].usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens) == (2000, 1200, 140)
    assert reranker.describe()["tokens_counted_by"] == "the endpoint"


def test_tokens_an_endpoint_does_not_report_are_estimated_and_marked(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
) -> None:
    endpoint.reply = lambda body: make_reply("[1] > [2]", usage=None)
    reranker = rankgpt(window=0)
    usage = reranker.rerank(requests[:1], clock)[0].usage
    assert usage.generated_tokens == 3  # nine bytes, four to a token, rounded up
    assert usage.calls_estimated == 1
    assert "estimate" in str(reranker.describe()["tokens_counted_by"])


def test_the_key_stays_out_of_descriptions(
    endpoint: Endpoint, rankgpt: Callable[..., Reranker], requests: list[RerankRequest], clock: StageClock
) -> None:
    reranker = rankgpt()
    reranker.rerank(requests[:1], clock)
    assert endpoint.headers[0]["authorization"] == "Bearer secret-key"
    assert "secret-key" not in json.dumps(reranker.describe())
    with_password = rankgpt(base_url="http://user:secret-word@localhost/v1?key=secret-word")
    assert with_password.describe()["endpoint"] == "http://localhost/v1/"


@pytest.mark.parametrize("stream", [False, True])
def test_requests_come_from_the_openai_package(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    clock: StageClock,
    stream: bool,
) -> None:
    rankgpt(stream=stream).rerank(requests[:1], clock)
    for headers in endpoint.headers:
        assert headers["user-agent"] == f"AsyncOpenAI/Python {openai.__version__}"
        assert headers["x-stainless-package-version"] == openai.__version__
        assert headers["x-stainless-retry-count"] == "0"
        assert headers["accept-encoding"] == "identity"


def test_an_endpoint_without_keys_is_sent_none(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    clock: StageClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    rankgpt().rerank(requests[:1], clock)
    assert "authorization" not in endpoint.headers[0]


@pytest.mark.parametrize(
    ("names_organization", "sent"), [(True, ("org-a", "project-b")), (False, (None, None))]
)
def test_only_openai_is_told_the_organization(
    endpoint: Endpoint,
    make_reply: MakeReply,
    monkeypatch: pytest.MonkeyPatch,
    names_organization: bool,
    sent: tuple[str | None, ...],
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-a")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-b")
    endpoint.reply = lambda body: make_reply("hello")
    chat_endpoint = ChatEndpoint(
        url=address("base_url", endpoint.base_url, "/chat/completions"),
        shown_url=endpoint.base_url,
        name="stub",
        settings="base_url",
        key_variable="OPENAI_API_KEY",
        key=None,
        timeout_seconds=5.0,
        retries=0,
        concurrency=1,
        recording=None,
        price_example=None,
    )

    async def ask() -> None:
        client = OpenAIClient(chat_endpoint, names_organization)
        await client.post(b'{"model": "m", "messages": []}')
        await client.close()

    asyncio.run(ask())
    headers = endpoint.headers[0]
    assert (headers.get("openai-organization"), headers.get("openai-project")) == sent


def test_a_chat_endpoint_that_is_not_opened_imports_no_client() -> None:
    imported = "rerankers.chat.backends, rerankers.listwise.rankgpt"
    code = f"import sys, {imported}; assert 'openai' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_package_names_the_extra(
    rankgpt: Callable[..., Reranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rerankbench\[openai\]"'):
        rankgpt()


def test_headers_that_may_hold_secrets_are_refused(
    rankgpt: Callable[..., Reranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer planted-secret")
    with pytest.raises(InputError, match="OPENAI_CUSTOM_HEADERS is set") as raised:
        rankgpt()
    assert "planted-secret" not in str(raised.value)


def test_a_key_that_an_error_quotes_is_not_passed_on(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
) -> None:
    message = json.dumps({"error": {"message": "Incorrect API key provided: secret-key."}})
    endpoint.reply = lambda body: make_reply(status=401, raw=message)
    with pytest.raises(BackendError, match=r"provided: \$OPENAI_API_KEY\.") as raised:
        rankgpt().rerank(requests[:1], clock)
    assert "secret-key" not in str(raised.value)


def test_what_the_endpoint_says_it_served_is_kept(
    rankgpt: Callable[..., Reranker], requests: list[RerankRequest], clock: StageClock
) -> None:
    reranker = rankgpt()
    reranker.rerank(requests[:1], clock)
    assert reranker.describe()["served_models"] == ["m-2024-01-01"]
    assert reranker.describe()["system_fingerprints"] == ["fp_1"]


def test_the_whole_time_of_a_call_is_charged_to_generate(
    rankgpt: Callable[..., Reranker], requests: list[RerankRequest], clock: StageClock
) -> None:
    ranking = rankgpt(concurrency=1).rerank(requests[:1], clock)[0]
    assert ranking.stage_seconds["generate"] == 2  # two calls, one tick of the fake clock each


def test_more_fields_of_a_request_and_room_for_thoughts_reach_the_endpoint(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    make_reply: type[Reply],
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
) -> None:
    endpoint.reply = lambda body: make_reply("<think>[1] comes first?</think>[2] > [1]")
    extra = {"chat_template_kwargs": {"enable_thinking": True}}
    reranker = rankgpt(extra_body=extra, reasoning_tokens=1000, max_new_tokens=40)
    (ranking,) = reranker.rerank([make_request("bees", ["1", "2"])], clock)
    assert ranking.doc_ids == ("d1", "d0")
    [body] = endpoint.bodies
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert body["max_tokens"] == 1000 + 40


def test_fields_with_an_option_of_their_own_are_refused(rankgpt: Callable[..., Reranker]) -> None:
    with pytest.raises(InputError, match="'temperature' is set by an option"):
        rankgpt(extra_body={"temperature": 1})
    with pytest.raises(InputError, match=r"extra_body: \{chat_template_kwargs"):
        rankgpt(template_variables={"enable_thinking": False})


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
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
    tmp_path: Path,
) -> None:
    flawless = endpoint.reply

    def reasoning_model(body: Body) -> Reply:
        for name, error in (("max_tokens", UNSUPPORTED_LIMIT), ("temperature", UNSUPPORTED_TEMPERATURE)):
            if name in body:
                return make_reply(status=400, raw=json.dumps({"error": error}))
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
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
) -> None:
    flawless = endpoint.reply

    def gemma(body: Body) -> Reply:
        roles = [message["role"] for message in body["messages"]]
        if "system" in roles:
            return make_reply(status=400, raw=json.dumps({"message": "System role not supported"}))
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
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
    options: dict[str, float],
    message: str,
) -> None:
    endpoint.reply = lambda body: make_reply(status=400, raw=json.dumps({"error": {"message": message}}))
    with pytest.raises(BackendError, match=re.escape(message)):
        rankgpt(concurrency=1, **options).rerank(requests[:1], clock)
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "[2] > "}, {"type": "text", "text": "[1]"}],
        ["[2] >", " [1]"],
        [{"type": "thinking", "thinking": [{"text": "[1]?"}]}, {"type": "text", "text": "[2] > [1]"}],
    ],
)
def test_content_in_parts_is_joined(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    make_request: MakeRequest,
    make_reply: MakeReply,
    clock: StageClock,
    content: list[Any],
) -> None:
    usage = {"prompt_tokens": 100.0, "completion_tokens": 10.0}
    raw = json.dumps({"choices": [{"message": {"content": content}}], "usage": usage})
    endpoint.reply = lambda body: make_reply(raw=raw)
    [ranking] = rankgpt().rerank([make_request("query", ["a", "b"])], clock)
    assert ranking.doc_ids == ("d1", "d0")
    assert (ranking.usage.prompt_tokens, ranking.usage.well_formed) == (100, 1)
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
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    requests: list[RerankRequest],
    make_reply: MakeReply,
    clock: StageClock,
    raw: str,
    says: str,
) -> None:
    endpoint.reply = lambda body: make_reply(status=400, raw=raw)
    with pytest.raises(
        BackendError, match=rf"refuses with status 400: {re.escape(says)}; change the options"
    ):
        rankgpt().rerank(requests[:1], clock)


def test_a_query_in_the_address_stays_behind_the_path(
    endpoint: Endpoint, rankgpt: Callable[..., Reranker], requests: list[RerankRequest], clock: StageClock
) -> None:
    root = endpoint.base_url.removesuffix("/v1")
    reranker = rankgpt(base_url=f"{root}/openai/deployments/d?api-version=2024-10-21")
    reranker.rerank(requests[:1], clock)
    assert endpoint.paths[0] == "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert endpoint.headers[0]["api-key"] == "secret-key"  # where Azure's dated API looks for it
    assert reranker.describe()["endpoint"] == f"{root}/openai/deployments/d/"
    reranker = rankgpt(base_url=f"{endpoint.base_url}/chat/completions")  # in full: not appended twice
    reranker.rerank(requests[:1], clock)
    assert endpoint.paths[-1] == "/v1/chat/completions"
    assert "api-key" not in endpoint.headers[-1]


def test_what_multiplies_the_bill_is_refused(rankgpt: Callable[..., Reranker]) -> None:
    with pytest.raises(InputError, match="'n' changes what an answer costs"):
        rankgpt(extra_body={"n": 8})


def test_a_failure_waits_for_the_answers_under_way_and_hands_over_what_they_finish(
    endpoint: Endpoint,
    rankgpt: Callable[..., Reranker],
    make_request: MakeRequest,
    make_reply: MakeReply,
    clock: StageClock,
    tmp_path: Path,
) -> None:
    """Four queries of one call are under way; the second one's key is refused while the others run."""

    def reply(body: Body) -> Reply:
        if "revoked query" in json.dumps(body["messages"]):
            return make_reply(status=401, raw='{"error": {"message": "revoked"}}')
        return make_reply("[2] > [1]", delay_seconds=0.2)

    endpoint.reply = reply
    queries = [make_request(f"query {q}", ["a", "b"], query_id=f"q{q}") for q in range(10, 14)]
    queries[1] = make_request("revoked query", ["a", "b"], query_id="q1")
    reranker = rankgpt(concurrency=3, recording=tmp_path / "a.sqlite")
    with pytest.raises(BackendError, match="revoked") as raised:
        reranker.rerank(queries, clock)
    assert [ranking.query_id for ranking in raised.value.finished] == ["q10", "q12"]
    assert len(endpoint.bodies) == 3, "no further call begins"
    endpoint.bodies.clear()
    endpoint.reply = lambda body: make_reply("[2] > [1]")
    rankgpt(recording=tmp_path / "a.sqlite").rerank(queries, clock)
    assert len(endpoint.bodies) == 2, "the answers under way were kept"
