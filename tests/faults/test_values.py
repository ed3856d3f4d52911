"""Values that no measurement has, and ids and scores that other programs would read as something else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.candidates.file import read_candidates
from benchmarks.candidates.frozen import Pool
from benchmarks.candidates.pool_folder import save_pool
from benchmarks.datasets.readers import read_qrels, read_run
from benchmarks.evaluation.statistics import bootstrap_interval
from benchmarks.results.cell import CellWriter
from benchmarks.results.cell_lines import committed
from benchmarks.results.cell_record import write_imported
from benchmarks.results.record import Protocol, Record, Session, System
from benchmarks.results.store import read_results
from reports.analysis.context import build
from rerankers.errors import DamagedError, InputError, ModelError, StoreError
from rerankers.interface import Candidate, Ranking, Usage, strictly_decreasing

if TYPE_CHECKING:
    from pathlib import Path

HITS = [{"content": "a", "docid": "d1", "score": 2.0}, {"content": "b", "docid": "d2", "score": 1.0}]


def make_record(pool: str = "0" * 16, **changes: Any) -> Record:
    return Record(
        cell="cell",
        experiment="test",
        status="running",
        system=System(label="system", reranker="imported"),
        dataset="tiny",
        first_stage={"kind": "given"},
        depth=2,
        pool=pool,
        measures=("nDCG@10",),
        protocol=Protocol(),
        sessions=(Session(started_at="2026-01-01T00:00:00Z", environment={}),),
    ).model_copy(update=changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_seconds", -0.5),
        ("total_seconds", float("nan")),
        ("stage_seconds", {"forward": -1.0}),
        ("control_seconds", -1e-9),
        ("queued_seconds", -2.0),
        ("repeat", -1),
        ("session", -1),
    ],
)
def test_a_row_with_a_time_that_cannot_be_is_refused_at_its_line(
    tmp_path: Path, name: str, value: object
) -> None:
    with CellWriter(tmp_path, make_record()) as writer:
        for query_id in ("q1", "q2"):
            writer.add([Ranking(query_id, ("d1",), (1.0,), {"forward": 0.5}, Usage())], 0, 0.5)
    path = tmp_path / "queries.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{json.dumps({**json.loads(second), name: value})}\n")
    with pytest.raises(DamagedError, match=rf"^{path}:2: not a row of results \({name}"):
        committed(tmp_path)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("d1", "ranks 'd1', a second time"),
        ("stranger", "ranks 'stranger', which is not among the candidates"),
    ],
)
def test_a_ranking_that_is_none_of_the_candidates_is_refused_at_its_line(
    tmp_path: Path, second: str, message: str
) -> None:
    pool = Pool.freeze(
        dataset="tiny",
        first_stage={"kind": "given"},
        depth=2,
        queries={"q": "?"},
        qrels={"q": {"d1": 1}},
        candidates={"q": [Candidate("q", "d1", "a", 2.0), Candidate("q", "d2", "b", 1.0)]},
    )
    save_pool(pool, tmp_path / "pools")
    lines = f"q Q0 d1 1 2 t\nq Q0 {second} 2 1 t\n"
    record = make_record(pool.digest, status="done", is_imported=True)
    write_imported(tmp_path / "cell", record, lines.encode())
    with pytest.raises(StoreError, match=rf"^{tmp_path}/cell/ranking.trec:2: query 'q' {message}"):
        build([read_results(tmp_path)])


@pytest.mark.parametrize("score", ["-1e39", "1e39", "1e308", "-1e308"])
def test_a_score_that_32_bits_cannot_hold_is_refused_at_its_line(tmp_path: Path, score: str) -> None:
    run, candidates = tmp_path / "run.trec", tmp_path / "hits.jsonl"
    run.write_text(f"q Q0 d1 1 2 t\nq Q0 d2 2 {score} t\n")
    with pytest.raises(InputError, match=rf"^{run}:2: .*32 bits"):
        read_run(run)
    line = {"query": {"text": "t", "qid": "q"}, "hits": [HITS[0], {**HITS[1], "score": float(score)}]}
    candidates.write_text(json.dumps(line) + "\n")
    with pytest.raises(InputError, match=rf"^{candidates}:1: hit 2: 'score' is .*32 bits"):
        read_candidates(candidates)
    with pytest.raises(ModelError, match="32 bits"):
        strictly_decreasing([2.0, float(score)])


def test_scores_at_the_end_of_32_bits_never_become_ties() -> None:
    smallest = -float(np.finfo(np.float32).max)
    assert strictly_decreasing([2.0, smallest]) == (2.0, smallest)
    with pytest.raises(ModelError, match="32 bits"):
        strictly_decreasing([smallest, smallest])  # nothing lies below


def test_an_id_with_a_zero_byte_is_refused_at_its_line(tmp_path: Path) -> None:
    run, qrels, candidates = tmp_path / "run.trec", tmp_path / "qrels.txt", tmp_path / "hits.jsonl"
    run.write_text("q Q0 d1 1 2 t\nq Q0 d\0a 2 1 t\n")
    with pytest.raises(InputError, match=rf"^{run}:2: .*zero byte"):
        read_run(run)
    qrels.write_text("q 0 d\0a 1\n")
    with pytest.raises(InputError, match=rf"^{qrels}:1: .*zero byte"):
        read_qrels(qrels)
    candidates.write_text(
        json.dumps({"query": {"text": "t", "qid": "q"}, "hits": [{**HITS[0], "docid": "d\0a"}]}) + "\n"
    )
    with pytest.raises(InputError, match=rf"^{candidates}:1: .*zero byte"):
        read_candidates(candidates)
    with (
        CellWriter(tmp_path / "cell", make_record()) as writer,
        pytest.raises(InputError, match=r"'d\\x00a' .*zero byte"),
    ):
        writer.add([Ranking("q", ("d\0a",), (1.0,), {}, Usage())], 0, 0.5)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
def test_the_interval_of_a_mean_never_leaves_the_range_of_its_values(count: int, value: float) -> None:
    assert bootstrap_interval([value] * count) == (value, value)
    low, high = bootstrap_interval([0.0] + [1.0] * count)
    assert 0.0 <= low <= high <= 1.0
    low, high = bootstrap_interval([value, *[1.0] * count])
    assert value <= low <= high <= 1.0
