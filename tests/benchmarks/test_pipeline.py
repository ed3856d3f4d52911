"""From candidates to records: what is measured, what is kept, what a failure leaves."""

from __future__ import annotations

import gc
import json
import random
import sys
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
import torch

from benchmarks.evaluation.measures import evaluate
from benchmarks.executors.local import Outcome, run
from benchmarks.experiments.config import load_experiment
from benchmarks.results.record import Protocol
from benchmarks.results.store import read_results
from rerankers.errors import ModelError, StoreError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.options import MethodOptions
from rerankers.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rerankers.stages import StageClock

calls: list[list[str]] = []
healed: set[str] = set()


class RecorderOptions(MethodOptions):
    implementation: ClassVar[str] = f"{__name__}:Recorder"

    fail_on: str | None = None
    loses: bool = False


class Recorder(Reranker):
    """Keeps the order and remembers what it was asked; `fail_on` raises at that query."""

    def __init__(self, options: RecorderOptions) -> None:
        self._fail_on, self._loses = options.fail_on, options.loses

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        calls.append([request.query_id for request in requests])
        if any(request.query_id == self._fail_on and request.query_id not in healed for request in requests):
            raise ModelError("the weights\nmelted")
        costs = [Cost() for _ in requests]
        with clock.stage("forward", *costs):
            pass
        if self._loses:
            requests = [
                RerankRequest(whole_request.query_id, whole_request.query, whole_request.candidates[1:])
                for whole_request in requests
            ]
        return [
            Ranking.of(request, range(len(request.candidates)), cost)
            for request, cost in zip(requests, costs, strict=True)
        ]


class DrawingOptions(MethodOptions):
    implementation: ClassVar[str] = f"{__name__}:Drawing"


class Drawing(Reranker):
    """Shuffles by the generators that everybody shares, as a model's own code may."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        rankings = []
        for request in requests:
            order = torch.randperm(len(request.candidates)).numpy()
            order = np.random.permutation(order).tolist()
            random.shuffle(order)
            rankings.append(Ranking.of(request, order, Cost()))
        return rankings


@pytest.fixture(autouse=True)
def recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    healed.clear()
    monkeypatch.setitem(METHODS, "recorder", f"{__name__}:RecorderOptions")
    monkeypatch.setitem(METHODS, "drawing", f"{__name__}:DrawingOptions")


def go(path: Path, folder: Path, *overrides: str) -> Outcome:
    experiment, config = load_experiment(path, overrides)
    return run(experiment, config, folder)


def test_every_query_is_measured_once_per_repeat(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment(rerankers="recorder", protocol={"repeats": 2, "warmup": 1})
    assert go(path, tmp_path / "out").exit_status == 0
    (cell,) = read_results(tmp_path / "out").cells
    assert calls == [["q0"], *[["q0"], ["q1"], ["q2"]] * 2]  # the warm-up first
    assert [(row.query_id, row.repeat) for row in cell.rows] == [
        (f"q{q}", r) for r in (0, 1) for q in range(3)
    ]
    assert cell.record.status == "done"
    assert len(cell.record.sessions[0].warmup_seconds) == 1


def test_warm_up_is_ended_before_a_query_is_measured(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "end_warm_up", lambda _: calls.append(["end of warm-up"]))
    systems = [
        {"name": "cascade", "options": {"steps": [{"name": "recorder"}, {"name": "reverse", "depth": 2}]}}
    ]
    go(write_experiment(rerankers=systems, protocol={"warmup": 1}), tmp_path / "out")
    assert calls == [["q0"], ["end of warm-up"], ["q0"], ["q1"], ["q2"]]


def test_throughput_mode_ranks_in_batches_and_shares_the_time(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    protocol = {"mode": "throughput", "batch_size": 2, "warmup": 0}
    go(write_experiment(rerankers="recorder", protocol=protocol), tmp_path / "out")
    (cell,) = read_results(tmp_path / "out").cells
    assert calls == [["q0", "q1"], ["q2"]]
    assert cell.rows[0].total_seconds == cell.rows[1].total_seconds


def test_stages_never_exceed_the_total(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    go(write_experiment(rerankers=["first-stage", "recorder"]), tmp_path / "out")
    for cell in read_results(tmp_path / "out").cells:
        for row in cell.rows:
            assert 0 < sum(row.stage_seconds.values()) <= row.total_seconds


def test_a_failed_cell_is_a_record_and_the_others_go_on(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    systems = [{"name": "recorder", "options": {"fail_on": "q1"}}, "first-stage"]
    path = write_experiment(rerankers=systems, protocol={"warmup": 0})
    outcome = go(path, tmp_path / "out")
    failed, done = read_results(tmp_path / "out").cells
    assert (failed.record.status, failed.record.error) == ("failed", "the weights melted")
    assert list(failed.rankings) == ["q0"]  # what was ranked before is kept
    assert done.record.status == "done"
    assert outcome.exit_status == 1


def test_a_failed_cell_is_tried_again_from_where_it_failed(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment(
        rerankers={"name": "recorder", "options": {"fail_on": "q1"}}, protocol={"warmup": 0}
    )
    go(path, tmp_path / "out")
    calls.clear()
    healed.add("q1")
    assert go(path, tmp_path / "out").exit_status == 0
    assert calls == [["q1"], ["q2"]]
    (cell,) = read_results(tmp_path / "out").cells
    assert (cell.record.status, cell.record.error) == ("done", None)
    assert [row.session for row in cell.rows] == [0, 1, 1]


def test_what_is_drawn_depends_on_seed_query_and_repeat_and_on_nothing_that_came_before(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment(depth=20, rerankers="drawing", protocol={"repeats": 2, "warmup": 1})

    def orders(folder: str, *overrides: str) -> tuple[dict[str, list[str]], list[str]]:
        assert go(path, tmp_path / folder, *overrides).exit_status == 0
        (cell,) = read_results(tmp_path / folder).cells
        return cell.rankings.orders(), cell.unstable_queries()

    whole = orders("whole")
    assert whole[1] == ["q0", "q1", "q2"]  # a repeat draws anew
    (record,) = (tmp_path / "whole").glob("*/record.json")
    rows = record.with_name("queries.jsonl")
    digests = [row.ranking for row in read_results(tmp_path / "whole").cells[0].rows]
    rows.write_bytes(rows.read_bytes().splitlines(keepends=True)[0])  # as if it had been killed then
    record.write_text(record.read_text().replace('"done"', '"running"'))
    assert orders("whole") == whole
    assert [row.ranking for row in read_results(tmp_path / "whole").cells[0].rows] == digests
    assert orders("longer warm-up", "protocol.warmup=3") == whole
    assert orders("another seed", "protocol.seed=1")[0] != whole[0]


def digests(folder: Path) -> dict[str, bytes]:
    """Every file of a result folder that does not tell times."""
    names = ("ranking.trec", "pool.jsonl.gz", "texts.jsonl.gz", "index.json", "about.json")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.name in names
    }


@pytest.mark.parametrize("name", ["pool.jsonl.gz", "texts.jsonl.gz", "about.json"])
@pytest.mark.parametrize("how", ["cut", "changed", "deleted"])
def test_a_damaged_candidate_set_of_a_finished_experiment_is_built_again(
    write_experiment: Callable[..., Path], tmp_path: Path, name: str, how: str
) -> None:
    path, out = write_experiment(rerankers="reverse"), tmp_path / "out"
    go(path, out)
    whole = digests(out)
    (damaged,) = out.glob(f"pools/*/{name}")
    content = damaged.read_bytes()
    if how == "deleted":
        damaged.unlink()
    else:
        damaged.write_bytes(content[:-20] if how == "cut" else b"{}" + content[2:])
    if (name, how) != ("texts.jsonl.gz", "deleted"):  # a candidate set without texts is a whole one
        with pytest.raises(StoreError, match="run the same experiment again"):
            read_results(out).pool(damaged.parent.name)
        assert go(path, out).exit_status == 0
        after = digests(out)
        if name == "about.json":  # whose times are new
            key = damaged.relative_to(out).as_posix()
            assert json.loads(after.pop(key))["first_stage"] == json.loads(whole.pop(key))["first_stage"]
        assert after == whole
        assert [len(cell.record.sessions) for cell in read_results(out).cells] == [1]  # nothing was measured


@pytest.mark.parametrize("name", ["ranking.trec", "queries.jsonl", "record.json"])
@pytest.mark.parametrize("how", ["cut", "deleted"])
def test_a_damaged_cell_is_measured_again_by_the_same_run(
    write_experiment: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    how: str,
) -> None:
    path, out = write_experiment(rerankers=["first-stage", "reverse"]), tmp_path / "out"
    go(path, out)
    whole = digests(out)
    (damaged,) = out.glob(f"*reverse*/{name}")
    if how == "deleted":
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[:-20])
    assert [cell.record.status for cell in read_results(out).cells if not cell.rankings] == (
        [] if name == "record.json" else ["damaged"]
    )
    assert len(read_results(out).damaged) == 1
    capsys.readouterr()
    assert go(path, out).exit_status == 0
    assert "reverse: damaged, and measured again" in capsys.readouterr().err
    assert digests(out) == whole
    assert [cell.record.status for cell in read_results(out).cells] == ["done", "done"]


def test_a_reranker_that_loses_a_passage_fails(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    go(write_experiment(rerankers={"name": "recorder", "options": {"loses": True}}), tmp_path / "out")
    (cell,) = read_results(tmp_path / "out").cells
    assert "no permutation" in str(cell.record.error)


def test_a_finished_experiment_is_not_run_again_but_takes_new_labels_and_measures(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    go(write_experiment(rerankers="recorder"), tmp_path / "out")
    calls.clear()
    go(write_experiment(rerankers={"name": "recorder", "label": "new"}, measures="AP"), tmp_path / "out")
    (cell,) = read_results(tmp_path / "out").cells
    assert calls == []
    assert (cell.record.system.label, cell.record.measures) == ("new", ("AP",))


def test_candidates_that_cannot_be_had_fail_their_cells_only(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment()
    datasets = ["datasets=[{folder: nowhere}, {candidates: hits.jsonl, qrels: qrels.txt}]"]
    outcome = go(path, tmp_path / "out", *datasets)
    records = [cell.record for cell in read_results(tmp_path / "out").cells]
    assert [record.status for record in records] == ["failed", "failed", "done", "done"]
    assert "nowhere: no such folder" in str(records[0].error)
    assert outcome.exit_status == 2


def test_the_oracle_sees_the_answers_and_the_rest_does_not(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    go(write_experiment(rerankers=["oracle", "first-stage", "reverse"]), tmp_path / "out")
    results = read_results(tmp_path / "out")
    qrels = results.pool(results.cells[0].record.pool).qrels
    oracle, identity, _ = (
        evaluate(cell.rankings, qrels, ["nDCG@10"])["nDCG@10"]["q0"] for cell in results.cells
    )
    assert oracle == 1.0 > identity


def test_candidates_stay_frozen_although_the_file_is_gone(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_experiment(rerankers="reverse")
    go(path, tmp_path / "out")
    monkeypatch.setattr("benchmarks.pipeline.build_pool", None)  # not even asked
    assert go(write_experiment(), tmp_path / "out").exit_status == 0


def test_without_texts_the_candidates_are_fetched_again_and_must_be_the_same(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(write_experiment(rerankers="reverse", store_text=False), tmp_path / "out")
    (pool,) = (path.parent for path in (tmp_path / "out" / "pools").glob("*/pool.jsonl.gz"))
    assert not (pool / "texts.jsonl.gz").exists()
    assert go(write_experiment(store_text=False), tmp_path / "out").exit_status == 0
    experiment, config = load_experiment(write_experiment(rerankers="random", store_text=False))
    monkeypatch.setattr("benchmarks.experiments.plan._spec", lambda spec, inputs: "unchanged")
    go(write_experiment(store_text=False), tmp_path / "other")
    write_experiment(queries=2)
    with pytest.raises(StoreError, match="other candidates than were frozen"):
        run(experiment, config, tmp_path / "other")


def test_memory_and_the_timing_itself_are_recorded(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    go(write_experiment(rerankers="recorder"), tmp_path / "out")
    (session,) = read_results(tmp_path / "out").cells[0].record.sessions
    assert session.environment["timing"]["garbage_collector"] == "off in timed calls"
    assert 0 < session.environment["timing"]["stage_overhead_seconds"] < 0.01
    assert session.load_seconds is not None
    if sys.platform.startswith("linux"):
        assert session.peak_host_bytes is not None
        assert session.peak_host_bytes > 10**6


def test_the_collector_is_off_in_timed_calls_and_on_again_after_any_end(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    right = Recorder.rerank

    def watched(self: Recorder, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        seen.append(gc.isenabled())
        return right(self, requests, clock)

    monkeypatch.setattr(Recorder, "rerank", watched)
    systems = ["recorder", {"name": "recorder", "label": "failing", "options": {"fail_on": "q1"}}]
    go(write_experiment(rerankers=systems, protocol={"warmup": 0}), tmp_path / "out")
    assert seen == [False] * 5
    assert gc.isenabled()


def test_what_is_there_before_a_system_is_collected_once_and_not_for_each_system(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(Recorder, "prepare", lambda *_: frozen.append(gc.get_freeze_count()))
    systems = [{"name": "recorder", "label": label} for label in ("a", "b")]
    gc.unfreeze()
    try:
        assert go(write_experiment(rerankers=systems), tmp_path / "out").exit_status == 0
        assert frozen[0] == 0
        assert frozen[1] > 10_000  # the libraries
        assert gc.get_freeze_count() == 0
    finally:
        gc.freeze()


def test_objects_that_a_caller_froze_stay_frozen(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    gc.freeze()
    assert go(write_experiment(), tmp_path / "out").exit_status == 0
    assert gc.get_freeze_count() > 10_000  # a few may be freed meanwhile


def test_modes_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="one query at a time"):
        Protocol(mode="latency", batch_size=4)


def test_a_store_is_filled_before_any_query_is_timed(
    write_experiment: Callable[..., Path], tmp_path: Path, tiny_encoder: str
) -> None:
    options = {"model": tiny_encoder, "embeddings": "precomputed", "store": str(tmp_path / "store")}
    path = write_experiment(rerankers=[{"name": "embedding", "options": options}], protocol={"warmup": 0})
    assert go(path, tmp_path / "out").exit_status == 0
    (cell,) = read_results(tmp_path / "out").cells
    assert cell.rows
    assert all("passages_embedded" not in row.usage for row in cell.rows)
    assert all(row.usage["passages_from_store"] > 0 for row in cell.rows if cell.rankings[row.query_id])
