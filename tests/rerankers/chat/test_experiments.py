"""Whole experiments against an endpoint: killed and resumed, within a budget, and what their records say."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.cli.main import main
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.results.store import read_results
from rerankers.errors import InputError
from tests.rerankers.chat.conftest import Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from benchmarks.executors.local import Outcome
    from benchmarks.results.store import CellResult
    from tests.rerankers.chat.conftest import Endpoint

    WriteExperiment = Callable[..., Path]

QUERIES, DEPTH, WINDOWS = 6, 8, 3
PRICE = {"input": 100.0, "cached": 100.0, "output": 1000.0}
OF_A_CALL = (100 * 100.0 + 10 * 1000.0) / 1e6  # dollars, for the usage that the endpoint reports


@pytest.fixture
def write_experiment(tmp_path: Path, endpoint: Endpoint) -> WriteExperiment:
    """Write an experiment of six queries with three windows each; keywords are RankGPT's options."""

    def write(protocol: dict[str, Any], **options: Any) -> Path:
        rng = random.Random(0)
        with (tmp_path / "hits.jsonl").open("w") as hits, (tmp_path / "qrels.txt").open("w") as qrels:
            for q in range(QUERIES):
                values = rng.sample(range(100), DEPTH)
                passages = [
                    {"docid": f"q{q}-d{p}", "score": float(DEPTH - p), "content": str(value)}
                    for p, value in enumerate(values)
                ]
                hits.write(
                    json.dumps({"query": {"text": f"query {q}", "qid": f"q{q}"}, "hits": passages}) + "\n"
                )
                qrels.writelines(f"q{q} 0 q{q}-d{p} {value // 40}\n" for p, value in enumerate(values))
        chat = {"model": "m", "base_url": endpoint.base_url, "window": 4, "step": 2}
        content = {
            "name": "test",
            "datasets": {"candidates": "hits.jsonl", "qrels": "qrels.txt"},
            "first_stages": "given",
            "depths": DEPTH,
            "rerankers": {"name": "rankgpt", "options": {**chat, **options}},
            "protocol": protocol,
        }
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def go(path: Path, folder: Path, *overrides: str) -> Outcome:
    experiment, config = load_experiment(path, overrides)
    return run(experiment, config, folder)


def only_cell(folder: Path) -> CellResult:
    (cell,) = read_results(folder).cells
    return cell


def paid(endpoint: Endpoint) -> Counter[str]:
    """How often each question was answered, which is how often it was paid for."""
    return Counter(json.dumps(body["messages"]) for body in endpoint.bodies)


@pytest.mark.parametrize(
    ("protocol", "at_once", "answered"),
    [
        ({"mode": "latency", "warmup": 1}, 1, 2),
        ({"mode": "latency", "warmup": 1}, 1, 10),
        ({"mode": "throughput", "batch_size": 6, "warmup": 0}, 3, 5),
    ],
)
def test_a_killed_experiment_resumes_without_one_repeated_paid_call(
    endpoint: Endpoint,
    write_experiment: WriteExperiment,
    tmp_path: Path,
    protocol: dict[str, Any],
    at_once: int,
    answered: int,
) -> None:
    uninterrupted = write_experiment(protocol, concurrency=at_once)
    assert go(uninterrupted, tmp_path / "whole").exit_status == 0
    expected = paid(endpoint)
    endpoint.bodies.clear()

    path = write_experiment(protocol, concurrency=at_once, recording="answers.sqlite")
    command = [sys.executable, "-m", "benchmarks.cli", "run", str(path), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    held = threading.Barrier(at_once, action=process.kill)

    def hold_until_all_wait() -> bool:
        """Every query under way has asked again, so every answer given has arrived: now kill the process."""
        if len(endpoint.bodies) < answered:
            return True
        held.wait(timeout=30)
        process.wait(timeout=30)
        return False

    endpoint.admits = hold_until_all_wait
    assert process.wait(timeout=120) == -9
    endpoint.admits = lambda: True
    assert answered <= len(endpoint.bodies) < sum(expected.values())

    assert go(path, tmp_path / "out").exit_status == 0
    assert paid(endpoint) == expected
    assert [path.name for path in (tmp_path / "out").glob("*rankgpt*")] == [
        only_cell(tmp_path / "out").record.cell
    ]
    resumed, whole = (only_cell(tmp_path / name).rankings for name in ("out", "whole"))
    assert dict(resumed) == dict(whole)


def test_a_run_stops_before_its_budget_is_exceeded_and_goes_on_with_more(
    endpoint: Endpoint, write_experiment: WriteExperiment, tmp_path: Path
) -> None:
    path = write_experiment({"warmup": 0}, price=PRICE)
    outcome = go(path, tmp_path / "out", "budget=0.3")
    assert outcome.exit_status == 1
    assert 0 < outcome.dollars <= 0.3
    assert "budget of $0.30" in str(only_cell(tmp_path / "out").record.error)
    finished = len(only_cell(tmp_path / "out").rows)
    assert 0 < finished < QUERIES
    assert len(endpoint.bodies) * OF_A_CALL <= 0.3
    outcome = go(path, tmp_path / "out", "budget=5")
    assert outcome.exit_status == 0
    assert outcome.dollars == pytest.approx(QUERIES * WINDOWS * OF_A_CALL)
    cell = only_cell(tmp_path / "out")
    assert len(cell.rows) == QUERIES
    assert sum(row.usage["dollars"] for row in cell.rows) == pytest.approx(QUERIES * WINDOWS * OF_A_CALL)
    spending = (tmp_path / "out" / "spending.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["dollars"] for line in spending) == pytest.approx(
        len(endpoint.bodies) * OF_A_CALL
    )


def test_the_command_line_keeps_a_budget_and_says_what_was_spent(
    endpoint: Endpoint, write_experiment: WriteExperiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_experiment({"warmup": 0}, price=PRICE)
    command = ["run", str(path), "--out", str(tmp_path / "out"), "--budget"]
    assert main([*command, "0.3"]) == 1
    assert main([*command, "5"]) == 0
    assert f"for ${QUERIES * WINDOWS * OF_A_CALL:.4f} at list price" in capsys.readouterr().out
    endpoint.bodies.clear()
    arguments = [f"model=m base_url={endpoint.base_url} window=4 step=2", f"price={json.dumps(PRICE)}"]
    options = ["--reranker", "rankgpt", "--option", *arguments[0].split(), arguments[1]]
    files = ["--candidates", str(tmp_path / "hits.jsonl"), "--output", str(tmp_path / "run.trec")]
    assert main(["rerank", *options, *files, "--budget", "0.3"]) == 1
    assert "budget of $0.30" in capsys.readouterr().err
    assert 0 < len(endpoint.bodies) * OF_A_CALL <= 0.3
    assert not (tmp_path / "run.trec").exists()


def test_no_measured_call_is_answered_by_what_the_warm_up_asked(
    write_experiment: WriteExperiment, tmp_path: Path
) -> None:
    path = write_experiment({"warmup": 3}, recording="answers.sqlite")
    assert go(path, tmp_path / "out").exit_status == 0
    assert all("calls_replayed" not in row.usage for row in only_cell(tmp_path / "out").rows)


@pytest.mark.parametrize("load", [{"concurrency": 3}, {"rate": 60.0, "concurrency": 6}], ids=str)
def test_served_requests_reach_the_endpoint_side_by_side_and_rank_as_one_by_one(
    endpoint: Endpoint, write_experiment: WriteExperiment, tmp_path: Path, load: dict[str, Any]
) -> None:
    assert go(write_experiment({"warmup": 0}), tmp_path / "one by one").exit_status == 0
    assert endpoint.most_at_once == 1
    at_once = endpoint.reply
    endpoint.reply = lambda body: replace(at_once(body), delay_seconds=0.03)
    path = write_experiment({"mode": "served", "served": load, "warmup": 1, "repeats": 2})
    assert go(path, tmp_path / "served").exit_status == 0
    assert 1 < endpoint.most_at_once <= load["concurrency"]
    cell = only_cell(tmp_path / "served")
    counts = Counter((row.query_id, row.repeat) for row in cell.rows)
    assert counts == {(f"q{q}", repeat): 1 for q in range(QUERIES) for repeat in range(2)}
    assert cell.rankings.orders() == only_cell(tmp_path / "one by one").rankings.orders()
    for row in cell.rows:
        assert row.arrived_seconds is not None
        assert row.queued_seconds is not None
        assert sum(row.stage_seconds.values()) + row.queued_seconds <= row.total_seconds
        assert row.total_seconds >= WINDOWS * 0.03


def test_everything_about_a_prompt_can_be_swept(write_experiment: WriteExperiment) -> None:
    sweeps: dict[str, list[Any]] = {
        "window": [4, 6],
        "step": [1, 2],
        "passes": [1, 2],
        "passage_words": [100, 300],
        "initial_order": ["given", "shuffled", "reversed"],
        "prompt": ["rankgpt", "rank-vicuna", "rank-zephyr", "lrl"],
        "parsing": ["reference", "strict"],
        "model": ["one", "another"],
        "temperature": [0.0, None],
    }
    for option, values in sweeps.items():
        experiment, _ = load_experiment(write_experiment({"warmup": 0}, **{option: values}))
        cells = plan(experiment)
        assert [cell.options[option] for cell in cells] == values
        assert len({cell.name for cell in cells}) == len(values)


def test_the_record_says_what_the_endpoint_said_it_served(
    write_experiment: WriteExperiment, tmp_path: Path
) -> None:
    go(write_experiment({"warmup": 0}), tmp_path / "out")
    record = only_cell(tmp_path / "out").record
    described = record.system.described
    assert record.sessions[0].described == described  # a resumed run may meet another version
    assert described["system_fingerprints"] == ["fp_1"]
    assert described["served_models"] == ["m-2024-01-01"]


def test_a_table_is_rebuilt_without_a_key_or_a_call(
    endpoint: Endpoint, write_experiment: WriteExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_experiment({"warmup": 0}, recording="answers.sqlite", price=PRICE)
    go(path, tmp_path / "out")
    calls = len(endpoint.bodies)
    monkeypatch.delenv("OPENAI_API_KEY")
    go(path, tmp_path / "again")
    assert len(endpoint.bodies) == calls
    first, again = (only_cell(tmp_path / name) for name in ("out", "again"))
    assert dict(again.rankings) == dict(first.rankings)
    assert sum(row.usage["calls_replayed"] for row in again.rows) == calls
    assert [row.usage["dollars"] for row in again.rows] == [row.usage["dollars"] for row in first.rows]


def test_a_batch_that_fails_keeps_the_queries_that_it_finished(
    write_experiment: WriteExperiment, endpoint: Endpoint, tmp_path: Path
) -> None:
    """Six queries in one batch, one at a time; the key is refused at the first call of the fourth."""
    flawless = endpoint.reply

    def revoked(body: dict[str, Any]) -> Reply:
        if len(endpoint.bodies) == 3 * WINDOWS + 1:
            return Reply(status=401, raw='{"error": {"message": "revoked"}}')
        return flawless(body)

    endpoint.reply = revoked
    protocol = {"mode": "throughput", "batch_size": QUERIES, "warmup": 0}
    experiment = write_experiment(protocol, concurrency=1)
    outcome = go(experiment, tmp_path / "results")
    assert "revoked" in str(next(iter(outcome.failures.values())))
    assert len(only_cell(tmp_path / "results").rows) == 3
    assert len(endpoint.bodies) == 3 * WINDOWS + 1
    endpoint.bodies.clear()
    endpoint.reply = flawless
    assert not go(experiment, tmp_path / "results").failures
    assert len(endpoint.bodies) == 3 * WINDOWS, "what was answered is not asked again"
    resumed = only_cell(tmp_path / "results")
    assert [row.query_id for row in resumed.rows] == [f"q{q}" for q in range(QUERIES)]
    go(experiment, tmp_path / "whole")
    assert dict(resumed.rankings) == dict(only_cell(tmp_path / "whole").rankings)


def test_a_run_says_at_its_end_how_many_answers_were_repaired(
    write_experiment: WriteExperiment, endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.reply = lambda body: Reply("I cannot rank these.")
    go(write_experiment({"warmup": 0}), tmp_path / "results")
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"answers were repaired in {QUERIES} of {QUERIES} rankings" in last
    assert "NOT ONE answer was as asked for" in last


def test_a_file_is_not_reranked_by_a_model_without_one_good_answer(
    write_experiment: WriteExperiment, endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_experiment({"warmup": 0})
    flawless = endpoint.reply
    command = ["rerank", "--reranker", "rankgpt", "--candidates", str(tmp_path / "hits.jsonl")]
    command += ["--output", str(tmp_path / "run.trec"), "--option"]
    command += ["model=m", f"base_url={endpoint.base_url}"]
    endpoint.reply = lambda body: Reply("I cannot rank these.")
    assert main(command) == 1
    error_output = capsys.readouterr().err
    assert "Nothing was written" in error_output
    assert "with the option recording" in error_output
    assert not (tmp_path / "run.trec").exists()
    endpoint.reply = lambda body: flawless(body) if len(endpoint.bodies) % 2 else Reply("no")
    assert main(command) == 0
    assert f"answers were repaired in 3 of {QUERIES} rankings" in capsys.readouterr().err
    assert (tmp_path / "run.trec").exists()


def test_a_wrong_price_is_refused_before_anything_is_asked(
    write_experiment: WriteExperiment, endpoint: Endpoint, tmp_path: Path
) -> None:
    experiment = write_experiment({"warmup": 0}, price={"input": 100.0})
    with pytest.raises(InputError, match="price"):
        go(experiment, tmp_path / "results")
    assert not endpoint.bodies


def test_a_recording_without_room_fails_its_cell_and_loses_no_ranking(
    write_experiment: WriteExperiment,
    endpoint: Endpoint,
    tmp_path: Path,
    no_room: Callable[[], AbstractContextManager[None]],
) -> None:
    endpoint.reply = lambda body: Reply("[2] > [1]" + " " * 2**17)
    options = {"window": DEPTH, "step": 1, "recording": str(tmp_path / "answers.sqlite")}
    experiment = write_experiment({"warmup": 0}, **options)
    with no_room():
        outcome = go(experiment, tmp_path / "results")
    assert "answers.sqlite: 1 answers cannot be written" in str(*outcome.failures.values())
    cell = only_cell(tmp_path / "results")
    assert (cell.record.status, len(cell.rows), len(endpoint.bodies)) == ("failed", 1, 1)
    assert not go(experiment, tmp_path / "results").failures
    assert len(endpoint.bodies) == QUERIES


def test_the_full_run_does_not_ask_again_what_a_limited_run_asked(
    endpoint: Endpoint, write_experiment: WriteExperiment, tmp_path: Path
) -> None:
    path = write_experiment({"warmup": 0}, price=PRICE)
    assert go(path, tmp_path / "out", "limit=2").exit_status == 0
    assert len(endpoint.bodies) == 2 * WINDOWS
    first = only_cell(tmp_path / "out")
    assert go(path, tmp_path / "out").exit_status == 0
    assert len(endpoint.bodies) == QUERIES * WINDOWS  # two of the queries were answered
    cell = only_cell(tmp_path / "out")
    assert len(cell.rows) == QUERIES
    assert dict(cell.rankings.orders()).items() >= dict(first.rankings.orders()).items()
    assert [row.session for row in cell.rows] == [0, 0, 1, 1, 1, 1]
    fresh = tmp_path / "fresh"
    assert go(path, fresh).exit_status == 0
    assert dict(only_cell(fresh).rankings.orders()) == dict(cell.rankings.orders())


def test_what_changed_is_asked_again(
    endpoint: Endpoint, write_experiment: WriteExperiment, tmp_path: Path
) -> None:
    assert go(write_experiment({"warmup": 0}), tmp_path / "out", "limit=2").exit_status == 0
    call_count = len(endpoint.bodies)
    path = write_experiment({"warmup": 0}, passage_words=50)  # another prompt
    assert go(path, tmp_path / "out").exit_status == 0
    assert len(endpoint.bodies) == call_count + QUERIES * WINDOWS


def test_the_closing_line_and_the_budget_count_the_same_calls(
    endpoint: Endpoint, write_experiment: WriteExperiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a fusion, with its warm-up: every call that the endpoint answered, and no other."""
    path = write_experiment({"warmup": 2}, price=PRICE)
    content = yaml.safe_load(path.read_text())
    system = content["rerankers"]
    part = {"name": system["name"], "options": system["options"]}
    content["rerankers"] = [{"name": "fusion", "options": {"parts": [part, {"name": "first-stage"}]}}]
    path.write_text(yaml.safe_dump(content))
    for number, more in enumerate([[], ["--budget", "5"]]):
        endpoint.bodies.clear()
        out = tmp_path / f"out{number}"
        assert main(["run", str(path), "--out", str(out), *more]) == 0
        assert len(endpoint.bodies) == (QUERIES + 2) * WINDOWS
        cost = len(endpoint.bodies) * OF_A_CALL
        assert f"${cost:.4f} paid" in capsys.readouterr().out
        (session,) = only_cell(out).record.sessions
        assert session.dollars_paid == pytest.approx(cost)
    spending = (tmp_path / "out1" / "spending.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["dollars"] for line in spending) == pytest.approx(cost)
