"""The openai backend against a real HTTP server: concurrency, faults, accounting."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import openai
import pytest

from rerankers.chat.openai_client import OpenAIClient
from rerankers.endpoints.endpoint import Endpoint as ChatEndpoint
from rerankers.endpoints.endpoint import address
from rerankers.errors import BackendError, InputError, MissingExtraError
from tests.rerankers.chat.conftest import Reply

if TYPE_CHECKING:
    from rerankers import StageClock
    from tests.rerankers.chat.conftest import Body, Endpoint, MakeRequest, MakeReranker, Requests


def test_queries_run_side_by_side_up_to_the_concurrency(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply("[2]", delay_seconds=0.05)
    rankgpt(concurrency=4).rerank(requests, clock)
    assert endpoint.most_at_once == 4
    assert len(endpoint.bodies) == 32


def test_connections_are_kept_from_call_to_call(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    reranker = rankgpt(concurrency=2)
    for _ in range(3):
        reranker.rerank(requests, clock)
    assert len(endpoint.bodies) == 96
    assert endpoint.connections <= 2


def test_faults_change_no_ranking_and_lose_no_query(
    endpoint: Endpoint,
    rankgpt: MakeReranker,
    requests: Requests,
    clock: StageClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rerankers.endpoints.endpoint.FIRST_WAIT_SECONDS", 0.01)
    flawless = endpoint.reply
    expected = [ranking.doc_ids for ranking in rankgpt().rerank(requests, clock)]
    rng = random.Random(0)
    faults = [
        lambda: Reply(status=429, raw="{}", headers={"Retry-After": "0.02"}),
        lambda: Reply(status=429, raw="{}", headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        lambda: Reply(status=500, raw="{}"),
        lambda: Reply(status=503, raw="overloaded"),
        lambda: Reply("late", delay_seconds=1.5),
        lambda: Reply("half", cut=True),
        lambda: Reply(reset=True),
        lambda: Reply(raw='{"choices": [{"index": 0, "mess'),
        lambda: Reply(raw='{"choices": []}'),
        lambda: Reply(raw='{"error": {"message": "try again"}}'),
        lambda: Reply(raw='[1, "two"]'),
        lambda: Reply(raw="<html>gateway</html>"),
        lambda: Reply(raw='{"choices": [{}]}'),
        lambda: Reply(status=400, raw='{"error": {"code": "content_filter"}}'),
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


def test_an_endpoint_that_never_recovers_is_given_up_by_name(
    rankgpt: MakeReranker, requests: Requests, clock: StageClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rerankers.endpoints.endpoint.FIRST_WAIT_SECONDS", 0.01)
    reranker = rankgpt(base_url="http://127.0.0.1:9/v1", retries=2)
    with pytest.raises(BackendError, match=r"127.0.0.1.* failed 3 times .* whether it is up"):
        reranker.rerank(requests, clock)


def test_a_wait_of_hours_is_not_waited_out(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply(status=429, raw="{}", headers={"Retry-After": "7200"})
    with pytest.raises(BackendError, match="asks to wait 7200 s"):
        rankgpt().rerank(requests, clock)


def test_tokens_are_counted_as_the_endpoint_reports_them(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    reported = {
        "prompt_tokens": 1000,
        "completion_tokens": 70,
        "total_tokens": 1070,
        "prompt_tokens_details": {"cached_tokens": 600},
    }
    endpoint.reply = lambda body: Reply("[1]", usage=reported)
    reranker = rankgpt()
    usage = reranker.rerank(requests[:1], clock)[0].usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens) == (2000, 1200, 140)
    assert reranker.describe()["tokens_counted_by"] == "the endpoint"


def test_tokens_an_endpoint_does_not_report_are_estimated_and_marked(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply("[1] > [2]", usage=None)
    reranker = rankgpt(window=0)
    usage = reranker.rerank(requests[:1], clock)[0].usage
    assert usage.generated_tokens == 3  # nine bytes, four to a token, rounded up
    assert usage.calls_estimated == 1
    assert "estimate" in str(reranker.describe()["tokens_counted_by"])


def test_the_key_stays_out_of_descriptions(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    reranker = rankgpt()
    reranker.rerank(requests[:1], clock)
    assert endpoint.headers[0]["authorization"] == "Bearer secret-key"
    assert "secret-key" not in json.dumps(reranker.describe())
    with_password = rankgpt(base_url="http://user:secret-word@localhost/v1?key=secret-word")
    assert with_password.describe()["endpoint"] == "http://localhost/v1/"


@pytest.mark.parametrize("stream", [False, True])
def test_requests_come_from_the_openai_package(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock, stream: bool
) -> None:
    rankgpt(stream=stream).rerank(requests[:1], clock)
    for headers in endpoint.headers:
        assert headers["user-agent"] == f"AsyncOpenAI/Python {openai.__version__}"
        assert headers["x-stainless-package-version"] == openai.__version__
        assert headers["x-stainless-retry-count"] == "0"
        assert headers["accept-encoding"] == "identity"


def test_an_endpoint_without_keys_is_sent_none(
    endpoint: Endpoint,
    rankgpt: MakeReranker,
    requests: Requests,
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
    monkeypatch: pytest.MonkeyPatch,
    names_organization: bool,
    sent: tuple[str | None, ...],
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-a")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-b")
    endpoint.reply = lambda body: Reply("hello")
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


def test_a_missing_package_names_the_extra(rankgpt: MakeReranker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rerankbench\[openai\]"'):
        rankgpt()


def test_headers_that_may_hold_secrets_are_refused(
    rankgpt: MakeReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer planted-secret")
    with pytest.raises(InputError, match="OPENAI_CUSTOM_HEADERS is set") as raised:
        rankgpt()
    assert "planted-secret" not in str(raised.value)


def test_what_the_endpoint_says_it_served_is_kept(
    rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    reranker = rankgpt()
    reranker.rerank(requests[:1], clock)
    assert reranker.describe()["served_models"] == ["m-2024-01-01"]
    assert reranker.describe()["system_fingerprints"] == ["fp_1"]


def test_the_whole_time_of_a_call_is_charged_to_generate(
    rankgpt: MakeReranker, requests: Requests, clock: StageClock
) -> None:
    ranking = rankgpt(concurrency=1).rerank(requests[:1], clock)[0]
    assert ranking.stage_seconds["generate"] == 2  # two calls, one tick of the fake clock each


def test_more_fields_of_a_request_and_room_for_thoughts_reach_the_endpoint(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply("<think>[1] comes first?</think>[2] > [1]")
    extra = {"chat_template_kwargs": {"enable_thinking": True}}
    reranker = rankgpt(extra_body=extra, reasoning_tokens=1000, max_new_tokens=40)
    (ranking,) = reranker.rerank([make_request("bees", ["1", "2"])], clock)
    assert ranking.doc_ids == ("d1", "d0")
    [body] = endpoint.bodies
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert body["max_tokens"] == 1000 + 40


def test_fields_with_an_option_of_their_own_are_refused(rankgpt: MakeReranker) -> None:
    with pytest.raises(InputError, match="'temperature' is set by an option"):
        rankgpt(extra_body={"temperature": 1})
    with pytest.raises(InputError, match=r"extra_body: \{chat_template_kwargs"):
        rankgpt(template_variables={"enable_thinking": False})


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
    rankgpt: MakeReranker,
    make_request: MakeRequest,
    clock: StageClock,
    content: list[Any],
) -> None:
    usage = {"prompt_tokens": 100.0, "completion_tokens": 10.0}
    raw = json.dumps({"choices": [{"message": {"content": content}}], "usage": usage})
    endpoint.reply = lambda body: Reply(raw=raw)
    [ranking] = rankgpt().rerank([make_request("query", ["a", "b"])], clock)
    assert ranking.doc_ids == ("d1", "d0")
    assert (ranking.usage.prompt_tokens, ranking.usage.well_formed) == (100, 1)
    assert len(endpoint.bodies) == 1


def test_a_query_in_the_address_stays_behind_the_path(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock
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


def test_what_multiplies_the_bill_is_refused(rankgpt: MakeReranker) -> None:
    with pytest.raises(InputError, match="'n' changes what an answer costs"):
        rankgpt(extra_body={"n": 8})
