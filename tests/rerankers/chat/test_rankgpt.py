from __future__ import annotations

import json
import random
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import create
from rerankers.errors import BackendError, InputError, ModelError
from tests.rerankers.chat.conftest import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers import StageClock
    from tests.rerankers.chat.conftest import Body, Endpoint, MakeRequest, MakeReranker


def test_windows_and_rankings_are_those_of_the_published_loop(
    golden: Path, endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    cases = json.loads((golden / "rankgpt" / "golden.json").read_text(encoding="utf-8"))["sliding"]
    assert len(cases) == 6
    for case in cases:
        calls = iter(case["calls"])

        def answer(body: Body, calls: Any = calls) -> Reply:
            call = next(calls)
            passages = [message["content"].split("] ")[1] for message in body["messages"][3:-1:2]]
            assert passages == call["window"]
            return Reply(call["raw"])

        endpoint.reply = answer
        reranker = rankgpt(window=case["window"], step=case["step"], window_policy="sliding-reference")
        request = make_request("query", [f"p{i}" for i in range(case["n"])])
        ranking = reranker.rerank([request], clock)[0]
        assert ranking.doc_ids == tuple(f"d{i}" for i in case["permutation"])
        assert ranking.usage.windows == ranking.usage.llm_calls == len(case["calls"])


def test_calls_of_a_round_are_under_way_at_once(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    flawless, partitions = endpoint.reply, threading.Barrier(5, timeout=60)

    def answer(body: Body) -> Reply:
        passages = [message["content"].split("] ")[1] for message in body["messages"][3:-1:2]]
        if len(endpoint.bodies) in range(2, 7):
            partitions.wait()  # answered only once all five are here
        assert len(passages) in (20, 5, 19, 12)
        return flawless(body)

    endpoint.reply = answer
    values = [str(value) for value in random.Random(0).sample(range(1000), 100)]
    ranking = rankgpt(window_policy="top-down").rerank([make_request("query", values)], clock)[0]
    assert ranking.usage.llm_calls == ranking.usage.windows == 7
    assert ranking.usage.sequential_calls == 3  # the first window, five partitions at once, the last one


def test_a_round_takes_as_long_as_its_slowest_calls(
    rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock, tmp_path: Path
) -> None:
    values = [str(value) for value in random.Random(0).sample(range(1000), 100)]
    request = make_request("query", values)
    options = {"window_policy": "top-down", "recording": tmp_path / "answers.sqlite"}
    rankgpt(**options).rerank([request], clock)
    with sqlite3.connect(tmp_path / "answers.sqlite") as recorded:
        one_second = "UPDATE exchanges SET exchange = json_set(exchange, '$.stage_seconds', json(?))"
        recorded.execute(one_second, ['{"generate": 1.0}'])
    for concurrency, expected in ((8, 1 + 1 + 1), (2, 1 + 3 + 1), (1, 7)):
        started = clock.now()
        ranking = rankgpt(**options, concurrency=concurrency).rerank([request], clock)[0]
        assert ranking.stage_seconds["generate"] == pytest.approx(expected)
        assert clock.now() - started >= expected
        assert ranking.usage.calls_replayed == 7


def test_a_call_that_fails_ends_the_others_of_its_round(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    flawless = endpoint.reply

    def answer(body: Body) -> Reply:
        return flawless(body) if len(endpoint.bodies) < 3 else Reply(status=401, raw="{}")

    endpoint.reply = answer
    request = make_request("query", [str(value) for value in range(100)])
    with pytest.raises(BackendError, match="401"):
        rankgpt(window_policy="top-down", concurrency=1).rerank([request], clock)
    assert len(endpoint.bodies) == 3


def test_a_flawless_model_lifts_the_best_window_to_the_top(
    rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    values = [(i * 37) % 45 for i in range(45)]  # 45 is not aligned with the step: the head counts too
    ranking = rankgpt().rerank([make_request("query", [str(value) for value in values])], clock)[0]
    best = sorted(range(45), key=lambda i: -values[i])[:10]
    assert ranking.doc_ids[:10] == tuple(f"d{i}" for i in best)
    assert not ranking.usage.faults


def test_a_window_of_zero_shows_all_candidates_at_once(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    ranking = rankgpt(window=0).rerank([make_request("query", [str(i) for i in range(45)])], clock)[0]
    assert ranking.doc_ids == tuple(f"d{i}" for i in reversed(range(45)))
    assert len(endpoint.bodies) == 1


def test_what_an_answer_lacks_is_repaired_and_counted(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    replies = {
        "cut": Reply("[2] > [2]", finish_reason="length"),
        "filtered": Reply(None, finish_reason="content_filter"),
        "refused": Reply(None, refusal="I will not."),
        "banned": Reply(status=400, raw='{"error": {"code": "content_filter", "message": "no"}}'),
        "full": Reply("[2] > [1] > [3] and so on and on", finish_reason="length"),
    }
    endpoint.reply = lambda body: replies[body["messages"][1]["content"].split()[-1][:-1]]
    requests = [make_request(query, ["a", "b", "c"], query_id=query) for query in replies]
    rankings = rankgpt().rerank(requests, clock)
    assert [ranking.usage.faults for ranking in rankings] == [
        {"duplicate": 1, "missing": 2, "cut_off": 1},
        {"malformed": 1, "refused": 1},
        {"malformed": 1, "refused": 1},
        {"malformed": 1, "refused": 1},
        {},
    ]
    assert [ranking.doc_ids[0] for ranking in rankings] == ["d1", "d0", "d0", "d0", "d1"]
    assert [ranking.usage.well_formed for ranking in rankings] == [0, 0, 0, 0, 1]


def test_passages_are_cut_after_the_words_allowed_and_counted_once(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply("[1] > [2] > [3]")
    request = make_request("query", ["one two three", "one two", "Title: Content: one two", "1 2 3 4"])
    ranking = rankgpt(passage_words=2, window=3, step=1).rerank([request], clock)[0]
    assert ranking.usage.windows == 2
    assert ranking.usage.passages_truncated == 2
    assert endpoint.bodies[0]["messages"][3]["content"] == "[1] one two"


def test_a_window_larger_than_the_context_shrinks_its_passages(
    tiny_llm: str, make_request: MakeRequest, clock: StageClock
) -> None:
    reranker = create("rankgpt", {"model": tiny_llm, "backend": "transformers", "max_new_tokens": 1})
    request = make_request("query", ["word " * 300] * 20)  # 20 x 300 words; the context is 4,096 tokens
    usage = reranker.rerank([request], clock)[0].usage
    assert usage.passages_truncated == 20
    assert 2048 < usage.prompt_tokens < 4096


def test_a_window_that_can_never_fit_says_what_to_change(
    tiny_llm: str, make_request: MakeRequest, clock: StageClock
) -> None:
    reranker = create("rankgpt", {"model": tiny_llm, "backend": "transformers", "window": 0})
    with pytest.raises(ModelError, match="smaller window"):
        reranker.rerank([make_request("query", ["word"] * 300)], clock)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"window": 10, "step": 11}, "do not fit"),
        ({"backend": "transformers", "base_url": "http://localhost"}, "base_url"),
        ({"backend": "transformers", "temperature": 0.7}, "greedily"),
        ({"backend": "openai", "revision": "main"}, "revision"),
        ({"backend": "vllm"}, "backend"),
        ({"base_url": "localhost:8000/v1"}, "write it as http://localhost:8000/v1"),
        ({"base_url": "http://localhost:port/v1"}, "not a URL"),
        ({"top": 3, "parsing": "strict"}, "leave one of them out"),
        ({"passage_words": 0}, "passage_words"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        create("rankgpt", {"model": "m", **options})


def test_options_of_the_model_are_written_beside_the_others() -> None:
    with pytest.raises(InputError, match="rankgpt needs the option 'model'"):
        create("rankgpt", {"window": 20})
    with pytest.raises(InputError, match="did you mean base_url"):
        create("setwise", {"model": "m", "base_ulr": "http://localhost/v1"})
    with pytest.raises(InputError, match=r"option 'price\.input' of pairwise"):
        create("pairwise", {"model": "m", "price": {"input": -1, "cached": 0, "output": 0}})
    with pytest.raises(InputError, match="unknown option of rankgpt 'chat'"):
        create("rankgpt", {"chat": {"model": "m"}})


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        create("rankgpt", {"model": "m"})


@pytest.mark.parametrize("initial_order", ["given", "shuffled", "reversed"])
def test_a_flawless_model_does_not_care_about_the_initial_order(
    rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock, initial_order: str
) -> None:
    request = make_request("query", [str((i * 37) % 100) for i in range(100)])
    ranking = rankgpt(initial_order=initial_order).rerank([request], clock)[0]
    best = sorted(range(100), key=lambda i: -((i * 37) % 100))[:10]
    assert ranking.doc_ids[:10] == tuple(f"d{i}" for i in best)


def test_the_initial_order_is_what_the_model_sees_first(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply("no answer")
    request = make_request("query", [str(i) for i in range(20)])
    orders = {
        (name, seed): rankgpt(initial_order=name, seed=seed).rerank([request], clock)[0].doc_ids
        for name, seed in [("given", 0), ("reversed", 0), ("shuffled", 0), ("shuffled", 1)]
    }
    assert orders["given", 0] == tuple(reversed(orders["reversed", 0]))
    assert len(set(orders.values())) == 4


def test_each_pass_goes_over_the_list_again(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    request = make_request("query", [str((i * 37) % 45) for i in range(45)])
    ranking = rankgpt(passes=4).rerank([request], clock)[0]
    assert ranking.usage.windows == 4 * 4
    best = sorted(range(45), key=lambda i: -((i * 37) % 45))
    assert ranking.doc_ids[:40] == tuple(f"d{i}" for i in best[:40])  # ten more places with every pass


@pytest.mark.parametrize("prompt", ["rank-vicuna", "rank-zephyr", "lrl"])
def test_other_prompts_rank_too(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock, prompt: str
) -> None:
    endpoint.reply = lambda body: Reply("PASSAGE2, PASSAGE1" if prompt == "lrl" else "[2] > [1]")
    reranker = rankgpt(prompt=prompt, parsing="strict")
    assert reranker.rerank([make_request("query", ["a", "b"])], clock)[0].doc_ids == ("d1", "d0")
    assert reranker.describe()["prompt"] == prompt


def test_tour_rank_asks_for_the_survivors_of_each_group(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    calls: list[tuple[int, int]] = []

    def answer(body: Body) -> Reply:
        passages = [message["content"].split(": ")[1] for message in body["messages"][3:-1:2]]
        ranks = int(body["messages"][-1]["content"].split("top ")[1].split()[0])
        calls.append((len(passages), ranks))
        best = sorted(range(len(passages)), key=lambda i: -int(passages[i]))[:ranks]
        return Reply(", ".join(f"Document {i + 1}" for i in best))

    endpoint.reply = answer
    values = random.Random(0).sample(range(1000), 100)
    reranker = rankgpt(prompt="tour-rank", window_policy="tournament", tournaments=2)
    [ranking] = reranker.rerank([make_request("query", [str(value) for value in values])], clock)
    assert sorted(calls) == sorted([(20, 10)] * 12 + [(10, 4)] * 10 + [(10, 5)] * 2 + [(5, 2)] * 2)
    best = sorted(range(100), key=lambda i: -values[i])[:2]
    assert set(ranking.doc_ids[:2]) == {f"d{i}" for i in best}
    assert ranking.usage.faults == {}
    assert ranking.usage.well_formed == ranking.usage.llm_calls == 26
    assert ranking.usage.sequential_calls == 5


def test_a_group_that_selects_too_few_is_a_fault(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply("Document 1")
    reranker = rankgpt(prompt="tour-rank", window_policy="tournament")
    [ranking] = reranker.rerank([make_request("query", [str(i) for i in range(10)])], clock)
    assert ranking.usage.faults == {"missing": 4 + 1}  # five of ten, then two of five, are asked for
    assert sorted(ranking.doc_ids) == sorted(f"d{i}" for i in range(10))
