"""Time of the harness itself: an identity reranker over 6,980 queries x 100 candidates, and hot functions.

    pytest benchmarks/micro/test_harness.py --benchmark-only --benchmark-save=NAME

`extra_info` of the first one holds milliseconds per query: all of them, and those inside the timed calls; the
harness's overhead, in CPU milliseconds, which hardly depend on what else the machine does: those of a whole
cell less those of the reranker's calls alone; by how much the process's memory grew; then by stage. A tenth
of the queries comes first: what a query takes, in time and memory, is alike where both are linear and flat.
Saved runs are compared with `python -m benchmarks.micro.ratios.compare OLD.json NEW.json`.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from psutil import Process

from benchmarks.evaluation.statistics import bootstrap_interval, permutation_test
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.pipeline import freeze_pool, run_cells
from benchmarks.results.cell_lines import committed
from benchmarks.results.cell_record import read_record
from benchmarks.results.exchange.trec import trec_lines
from rerankers import Ranking, StageClock
from rerankers.baselines import FirstStage
from rerankers.interface import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.config import Experiment

QUERIES, DEPTH = 6980, 100
EXPERIMENT = """
name: harness
datasets: {candidates: hits.jsonl, qrels: qrels.txt}
first_stages: given
depths: 100
rerankers: first-stage
"""


@pytest.fixture(scope="module", params=[QUERIES // 10, QUERIES])
def experiment(
    request: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Experiment, dict[str, Any], Path]:
    """Write an experiment with an identity reranker and freeze its candidate set in the folder `out`.

    Return the experiment, the values of its file, and its folder.
    """
    folder = tmp_path_factory.mktemp("harness")
    with (folder / "hits.jsonl").open("w") as hits, (folder / "qrels.txt").open("w") as qrels:
        for q in range(request.param):
            passages = [
                {"docid": f"d{q}-{p}", "score": float(DEPTH - p), "content": f"passage {p}"}
                for p in range(DEPTH)
            ]
            query = {"text": f"query {q}", "qid": f"q{q}"}
            hits.write(json.dumps({"query": query, "hits": passages}) + "\n")
            qrels.write(f"q{q} 0 d{q}-1 1\n")
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    loaded, values = load_experiment(folder / "experiment.yaml")
    freeze_pool(plan(loaded)[0].pool, folder / "out", store_text=True)
    return loaded, values, folder


def test_identity_over_6980_queries(
    benchmark: Any,
    experiment: tuple[Experiment, dict[str, Any], Path],
    measured: Callable[[str, float], None],
) -> None:
    loaded, _, folder = experiment
    (cell,) = plan(loaded)
    pool = freeze_pool(cell.pool, folder / "out", store_text=True)

    def afresh() -> None:
        shutil.rmtree(folder / "out" / cell.name, ignore_errors=True)

    before = Process().memory_info().rss
    cpu_seconds: list[float] = []

    def measure() -> None:
        started = time.process_time()
        assert run_cells(loaded, [cell], pool, folder / "out") == [None]
        cpu_seconds.append(time.process_time() - started)

    benchmark.pedantic(measure, setup=afresh, rounds=3)
    record = read_record(folder / "out" / cell.name)
    assert record is not None
    peak = record.sessions[0].peak_host_bytes
    _, rows = committed(folder / "out" / cell.name)
    whole = 1e3 * benchmark.stats.stats.median / len(rows)
    timed = 1e3 * statistics.mean(row.total_seconds for row in rows)
    overhead = 1e3 * (min(cpu_seconds) - reranking_cpu_seconds(pool)) / len(rows)
    benchmark.extra_info |= {
        "ms_per_query": whole,
        "timed_ms_per_query": timed,
        "overhead_cpu_ms_per_query": overhead,
        "grown_mib": None if peak is None else (peak - before) / 2**20,
        "order_ms_per_query": 1e3 * statistics.mean(row.stage_seconds["order"] for row in rows),
    }
    if len(rows) == QUERIES:
        measured("harness/overhead-ms-per-query", overhead)


def reranking_cpu_seconds(pool: Pool) -> float:
    """Return the CPU seconds of the identity reranker's calls for all queries of a candidate set."""
    reranker, clock, seconds = FirstStage(), StageClock(), 0.0
    for request in pool.requests():
        started = time.process_time()
        reranker.rerank([request], clock)
        seconds += time.process_time() - started
    return seconds


def test_a_finished_experiment_again(
    benchmark: Any, experiment: tuple[Experiment, dict[str, Any], Path]
) -> None:
    loaded, values, folder = experiment
    assert run(loaded, values, folder / "out").exit_status == 0
    assert benchmark(run, loaded, values, folder / "out").exit_status == 0


def test_lines_of_a_run(benchmark: Any) -> None:
    doc_ids = tuple(f"d{p}" for p in range(DEPTH))
    scores = tuple(float(np.float32(1.0 - p / 7)) for p in range(DEPTH))
    benchmark(trec_lines, Ranking("q", doc_ids, scores, {}, Usage()), "cell")


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    """Return made-up nDCG@10 of two systems, which serve as latencies too, (queries,) each."""
    draw = np.random.default_rng(0)
    values = draw.beta(2, 3, QUERIES)
    return values, np.clip(values + draw.normal(0.005, 0.1, QUERIES), 0.01, 1)


def test_permutation_of_6980_pairs(benchmark: Any, pair: tuple[Any, Any]) -> None:
    benchmark(permutation_test, *pair)


@pytest.mark.parametrize("statistic", ["mean", "median", "p95"])
def test_bootstrap_of_6980_queries(benchmark: Any, pair: tuple[Any, Any], statistic: Any) -> None:
    benchmark(bootstrap_interval, pair[0], statistic)
