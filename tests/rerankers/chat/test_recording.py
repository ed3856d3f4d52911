"""Record and replay: no answer is paid for twice, and none loses its time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.endpoints.exchange import canonical
from rerankers.endpoints.prices import Budget, Price, find_price
from rerankers.endpoints.response_cache import Recording
from rerankers.errors import BackendError, InputError
from tests.rerankers.chat.conftest import Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.rerankers.chat.conftest import Endpoint, MakeRequest, MakeReranker, Requests


PRICE = {"input": 100.0, "cached": 50.0, "output": 1000.0}


def test_recorded_answers_rebuild_the_rankings_without_a_call(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock, tmp_path: Path
) -> None:
    recorded = rankgpt(recording=tmp_path / "answers.sqlite").rerank(requests, clock)
    calls = len(endpoint.bodies)
    replaying = rankgpt(recording=tmp_path / "answers.sqlite")
    replayed = replaying.rerank(requests, clock)
    assert len(endpoint.bodies) == calls
    assert replaying.describe()["calls_replayed"] == calls
    assert [ranking.doc_ids for ranking in replayed] == [ranking.doc_ids for ranking in recorded]
    assert [replace(ranking.usage, calls_replayed=0) for ranking in replayed] == [
        ranking.usage for ranking in recorded
    ]
    assert all(ranking.usage.calls_replayed == ranking.usage.llm_calls for ranking in replayed)


def test_a_killed_run_resumes_without_one_repeated_call(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock, tmp_path: Path
) -> None:
    flawless = endpoint.reply
    answered: list[str] = []

    def dies_after_nine(body: dict[str, object]) -> Reply:
        if len(answered) == 9:
            return Reply(status=401, raw="{}")
        answered.append(str(body["messages"]))
        return flawless(body)

    endpoint.reply = dies_after_nine
    with pytest.raises(BackendError):
        rankgpt(recording=tmp_path / "a.sqlite", concurrency=3).rerank(requests, clock)
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as database:
        recorded = {row[0] for row in database.execute("SELECT digest FROM exchanges")}
    endpoint.reply = flawless
    endpoint.bodies.clear()
    resumed = rankgpt(recording=tmp_path / "a.sqlite").rerank(requests, clock)
    messages = {str(body["messages"]) for body in endpoint.bodies}  # on a slow machine one may be asked twice
    assert len(messages) == 32 - len(recorded)
    assert 7 <= len(recorded) <= 9  # two answers may have been under way when the run died
    expected = rankgpt().rerank(requests, clock)
    assert [ranking.doc_ids for ranking in resumed] == [ranking.doc_ids for ranking in expected]


def test_repeats_are_recorded_and_replayed_one_by_one(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, clock: StageClock, tmp_path: Path
) -> None:
    drifting = iter(["[1] > [2]", "[2] > [1]"])
    endpoint.reply = lambda body: Reply(next(drifting))
    request = make_request("query", ["a", "b"])
    for _ in range(2):  # the second round is a replay of the first
        reranker = rankgpt(recording=tmp_path / "a.sqlite")
        repeats = [reranker.rerank([request], clock)[0].doc_ids for _ in range(2)]
        assert repeats == [("d0", "d1"), ("d1", "d0")]


def test_a_replay_takes_the_time_it_took(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest, tmp_path: Path
) -> None:
    endpoint.reply = lambda body: Reply("[2] > [1]", delay_seconds=0.2)
    request = make_request("query", ["a", "b"])
    for _ in range(2):
        clock = StageClock(time.perf_counter)
        started = clock.now()
        ranking = rankgpt(recording=tmp_path / "a.sqlite").rerank([request], clock)[0]
        assert ranking.stage_seconds["generate"] >= 0.2
        assert clock.now() - started >= ranking.stage_seconds["generate"]
    assert len(endpoint.bodies) == 1


def test_waiting_for_an_endpoint_to_recover_is_no_latency(
    endpoint: Endpoint, rankgpt: MakeReranker, make_request: MakeRequest
) -> None:
    replies = iter([Reply(status=429, raw="{}", headers={"Retry-After": "0.5"}), Reply("[2] > [1]")])
    endpoint.reply = lambda body: next(replies)
    clock = StageClock(time.perf_counter)
    started, really_started = clock.now(), time.perf_counter()
    rankgpt().rerank([make_request("query", ["a", "b"])], clock)
    counted = clock.now() - started
    assert time.perf_counter() - really_started - counted >= 0.5


def test_a_key_never_reaches_the_disk(
    rankgpt: MakeReranker, requests: Requests, clock: StageClock, tmp_path: Path
) -> None:
    rankgpt(recording=tmp_path / "a.sqlite").rerank(requests, clock)
    assert all(b"secret-key" not in path.read_bytes() for path in tmp_path.iterdir())


def test_the_digest_does_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.sqlite")
    url = "http://host/v1/"
    first, _ = recording.next_key(url, canonical({"model": "m", "temperature": 0.0}))
    again, occurrence = recording.next_key(url, canonical({"temperature": 0.0, "model": "m"}))
    other, _ = recording.next_key(url, canonical({"temperature": 0.1, "model": "m"}))
    recording.close()
    assert first == again != other
    assert occurrence == 1


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, whatever its name says" * 100)
    with pytest.raises(InputError, match=r"notes.txt: cannot be used"):
        Recording(tmp_path / "notes.txt")


def test_dollars_count_cached_tokens_at_their_own_price() -> None:
    price = Price(input=2.0, cached=0.5, output=8.0, as_of="2025-08-07")
    assert price.dollars(1_000_000, 400_000, 100_000) == pytest.approx(0.6 * 2.0 + 0.4 * 0.5 + 0.1 * 8.0)


@pytest.mark.parametrize(
    ("model", "dollars_in"),
    [
        ("gpt-4o", 2.5),
        ("gpt-4o-2024-08-06", 2.5),
        ("gpt-4o-mini-2024-07-18", 0.15),
        ("gpt-3.5-turbo-0125", 0.5),
    ],
)
def test_a_snapshot_costs_what_its_model_costs(model: str, dollars_in: float) -> None:
    price = find_price(model)
    assert price is not None
    assert price.input == dollars_in


def test_a_model_nobody_lists_has_no_price() -> None:
    assert find_price("gpt-4o-audio-preview") is None


def test_a_budget_needs_a_price(rankgpt: MakeReranker) -> None:
    with pytest.raises(InputError, match=r"no price is listed for .*'m'.* option price"):
        rankgpt().pay_from(Budget(1.0))
    rankgpt(price=PRICE).pay_from(Budget(1.0))


def test_parts_pay_from_the_same_budget(endpoint: Endpoint) -> None:
    asking = {"name": "rankgpt", "options": {"model": "m", "base_url": endpoint.base_url}}
    cascade = create("cascade", {"steps": [{"name": "reverse"}, {**asking, "depth": 3}]})
    with pytest.raises(InputError, match="no price is listed"):
        cascade.pay_from(Budget(1.0))
    cascade.close()


def test_a_budget_is_never_exceeded_and_used_as_far_as_it_goes(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock, tmp_path: Path
) -> None:
    price = Price.model_validate(PRICE)
    of_a_call = price.dollars(100, 0, 10)  # what the endpoint reports for each call
    spent = []
    for dollars in (0.5, 0.5, 0.9):  # the second run finds nothing left, the third has been given more
        reranker = rankgpt(price=PRICE)
        reranker.pay_from(Budget(dollars, tmp_path / "spending.jsonl"))
        with pytest.raises(BackendError, match=rf"budget of \${dollars:.2f} .* raise the budget"):
            reranker.rerank(requests, clock)
        spent.append(len(endpoint.bodies) * of_a_call)
        assert spent[-1] <= dollars
    assert 0 < spent[0] == spent[1] < spent[2]
    assert Budget(9.0, tmp_path / "spending.jsonl").spent == pytest.approx(spent[2])


def test_a_call_that_a_killed_process_had_under_way_stays_counted(tmp_path: Path) -> None:
    budget = Budget(1.0, tmp_path / "spending.jsonl")
    assert budget.reserve(0.25)
    assert budget.reserve(0.5)
    budget.settle(0.25, 0.125)
    assert not budget.reserve(0.5)
    assert Budget(1.0, tmp_path / "spending.jsonl").spent == 0.5 + 0.125


@pytest.mark.parametrize("line", ['{"dollars": NaN}', '{"dollars": "some"}', '{"euros": 1}', "[]", "1e5"])
def test_a_ledger_that_is_wrong_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    ledger = tmp_path / "spending.jsonl"
    ledger.write_text('{"dollars": 0.5}\n' + line)
    assert Budget(1.0, ledger).spent == 0.5  # a kill tore the last line
    ledger.write_text('{"dollars": 0.5}\n' + line + "\n")
    with pytest.raises(InputError, match=r"spending.jsonl:2: this is no amount of dollars; correct the line"):
        Budget(1.0, ledger)


def test_a_torn_line_of_a_ledger_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    ledger = tmp_path / "spending.jsonl"
    ledger.write_text('{"dollars": 0.5}\n{"dolla')
    assert Budget(1.0, ledger).reserve(0.25)
    assert Budget(1.0, ledger).spent == 0.5 + 0.25


def test_a_ledger_that_cannot_be_written_stops_the_next_call_and_stays_whole(
    tmp_path: Path, no_room: Callable[[], AbstractContextManager[None]]
) -> None:
    """The file is one byte below the limit of 64 KiB when a call of $0.25 is settled at $0.125."""
    line = '{"dollars": 0.0}\n'
    ledger = tmp_path / "spending.jsonl"
    budget = Budget(1.0, ledger)
    assert budget.reserve(0.25)
    with ledger.open("a") as file:
        file.write(line * ((2**16 - ledger.stat().st_size) // len(line)))
    with no_room():
        budget.settle(0.25, 0.125)
        with pytest.raises(BackendError, match=r"spending.jsonl: cannot be written .*make room"):
            budget.reserve(0.5)
        assert budget.spent == 0.125
        assert Budget(1.0, ledger).spent == 0.25, "what was set aside stays booked"
    assert budget.reserve(0.5)
    assert Budget(1.0, ledger).spent == 0.125 + 0.5


def test_dollars_are_those_of_the_calls_paid_or_replayed(
    endpoint: Endpoint, rankgpt: MakeReranker, requests: Requests, clock: StageClock, tmp_path: Path
) -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 70,
        "prompt_tokens_details": {"cached_tokens": 600},
        "completion_tokens_details": {"reasoning_tokens": 50},
    }
    endpoint.reply = lambda body: Reply("[2] > [1]", usage=usage)
    of_a_call = (400 * 100.0 + 600 * 50.0 + 70 * 1000.0) / 1e6
    for replayed in (0, 2):  # two windows
        ranking = rankgpt(price=PRICE, recording=tmp_path / "a.sqlite").rerank(requests[:1], clock)[0]
        assert ranking.usage.dollars == pytest.approx(2 * of_a_call)
        assert ranking.usage.reasoning_tokens == 100
        assert ranking.usage.calls_replayed == replayed
    assert not rankgpt().rerank(requests[:1], clock)[0].usage.dollars  # no price, no dollars


def test_cached_tokens_cost_as_much_as_fresh_ones_unless_said() -> None:
    price = Price.model_validate({"input": 2.0, "output": 8.0})
    assert price.dollars(1_000_000, 400_000, 100_000) == pytest.approx(1.0 * 2.0 + 0.1 * 8.0)


@pytest.mark.parametrize("dollars", [float("nan"), -1.0])
def test_a_budget_that_bounds_nothing_is_refused(dollars: float) -> None:
    with pytest.raises(InputError, match="not an amount of dollars"):
        Budget(dollars)


@pytest.mark.parametrize(
    "price", [{"input": float("inf"), "output": 1}, {"input": 1, "output": float("nan")}]
)
def test_a_price_is_finite(price: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        Price.model_validate(price)


LONG_ANSWER = "[2] > [1]" + " " * 2**17


def test_nothing_more_is_asked_before_an_answer_that_the_disk_refused_is_written(
    endpoint: Endpoint,
    rankgpt: MakeReranker,
    requests: Requests,
    clock: StageClock,
    tmp_path: Path,
    no_room: Callable[[], AbstractContextManager[None]],
) -> None:
    endpoint.reply = lambda body: Reply(LONG_ANSWER)
    path = tmp_path / "a.sqlite"
    reranker = rankgpt(recording=path)
    with no_room(), pytest.raises(BackendError, match=r"a.sqlite: 1 answers cannot be written .*make room"):
        reranker.rerank(requests[:1], clock)
    assert len(endpoint.bodies) == 1, "the second window is not asked for"
    reranker.close()
    resumed = rankgpt(recording=path).rerank(requests[:1], clock)[0]
    assert len(endpoint.bodies) == 2
    assert resumed.usage.calls_replayed == 1


def test_an_answer_that_the_disk_refused_is_used_and_written_later(
    endpoint: Endpoint,
    rankgpt: MakeReranker,
    make_request: MakeRequest,
    clock: StageClock,
    tmp_path: Path,
    no_room: Callable[[], AbstractContextManager[None]],
) -> None:
    endpoint.reply = lambda body: Reply(LONG_ANSWER)
    path = tmp_path / "a.sqlite"
    request = make_request("query", ["a", "b"])
    reranker = rankgpt(recording=path)
    with no_room():
        assert reranker.rerank([request], clock)[0].doc_ids == ("d1", "d0")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM exchanges").fetchone() == (0,)
    reranker.close()
    assert rankgpt(recording=path).rerank([request], clock)[0].usage.calls_replayed == 1
    assert len(endpoint.bodies) == 1


ASKING = """
import sys
from rerankers import RerankRequest, StageClock, create
options = {"model": "m", "base_url": sys.argv[1], "recording": sys.argv[2], "concurrency": 2}
reranker = create("rankgpt", options)
requests = [RerankRequest.of(f"query {q}", {"a": "1", "b": "2"}, f"q{q}") for q in range(6)]
print(sum(ranking.usage.calls_replayed for ranking in reranker.rerank(requests, StageClock())))
reranker.close()
"""


def test_two_processes_that_share_a_recording_ask_everything_once(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.reply = lambda body: Reply("[2] > [1]", delay_seconds=0.3)
    command = [sys.executable, "-c", ASKING, endpoint.base_url, str(tmp_path / "a.sqlite")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    replayed = [int(process.communicate()[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(endpoint.bodies) == 6
    assert sum(replayed) == 6


def test_a_claim_ends_with_its_process(
    endpoint: Endpoint, rankgpt: MakeReranker, clock: StageClock, tmp_path: Path
) -> None:
    is_claimed = threading.Event()

    def hang(body: object) -> Reply:
        is_claimed.set()
        return Reply("[2] > [1]", delay_seconds=0.0 if len(endpoint.bodies) > 2 else 20.0)

    endpoint.reply = hang
    command = [sys.executable, "-c", ASKING, endpoint.base_url, str(tmp_path / "a.sqlite")]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    assert is_claimed.wait(60)
    killed.kill()
    killed.wait()
    endpoint.reply = lambda body: Reply("[2] > [1]")
    request = RerankRequest.of("query 0", {"a": "1", "b": "2"}, "q0")
    [ranking] = rankgpt(recording=tmp_path / "a.sqlite").rerank([request], clock)
    assert ranking.doc_ids == ("b", "a")


@pytest.mark.parametrize(
    "row",
    [
        '{"text": "[1]", "prompt_tokens": 1e400}',
        '{"text": "[1]", "prompt_tokens": -5}',
        '{"text": "[1]", "prompt_tokens": true}',
        '{"text": 5}',
        '{"end": "never"}',
        '{"stage_seconds": {"generate": -1}}',
        "[]",
        "{",
    ],
)
def test_a_recorded_answer_that_is_none_is_refused_by_file(tmp_path: Path, row: str) -> None:
    path = tmp_path / "a.sqlite"
    recording = Recording(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO exchanges VALUES ('d', 0, ?)", (row,))
    with pytest.raises(InputError, match=r"a.sqlite: holds what is no answer"):
        recording.find(("d", 0))
    recording.close()
