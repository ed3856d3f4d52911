"""Time of evaluating 30 systems x 6,980 queries x depth 100 from their folder, all pairs tested.

    pytest benchmarks/micro/test_evaluation.py --benchmark-only

Rankings are read and parsed, four measures computed with bootstrap intervals, and all 435 pairs tested by the
t-test and the randomisation test, Holm-corrected. `extra_info` has the largest memory of the process, and the
seconds per 1,000 queries, which are alike for a tenth of the queries where time grows linearly.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.evaluation.measures import DEFAULT_MEASURES, Evaluator
from benchmarks.evaluation.pairwise import Pair, compare_all
from benchmarks.evaluation.statistics import bootstrap_interval
from benchmarks.measuring.protocol import PeakMemory
from benchmarks.results.cell_record import write_imported
from benchmarks.results.record import Protocol, Record, System
from benchmarks.results.store import read_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SYSTEMS, DEPTH, RELEVANT = 30, 100, 5
Qrels = dict[str, dict[str, int]]


@pytest.fixture(scope="module", params=[698, 6980])
def stored(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Qrels]:
    """Return a result folder of 30 imported runs of rising quality, and the judgements."""
    queries: int = request.param
    folder = tmp_path_factory.mktemp("evaluation")
    draw = np.random.default_rng(0)
    gain = np.zeros(DEPTH)
    gain[:RELEVANT] = 1.0
    qrels = {f"q{q}": {f"d{p}": 1 + p % 3 for p in range(RELEVANT)} for q in range(queries)}
    for system in range(SYSTEMS):
        name = f"system-{system}"
        tails = [f" {rank} {DEPTH - rank}.0 {name}\n" for rank in range(1, DEPTH + 1)]
        noisy = gain * (1 + system / SYSTEMS) + draw.normal(0, 1, (queries, DEPTH))
        lines = [
            f"q{q} Q0 d{doc}{tail}"
            for q, order in enumerate(np.argsort(-noisy, axis=1).tolist())
            for doc, tail in zip(order, tails, strict=True)
        ]
        record = Record(
            cell=name,
            experiment="evaluation",
            status="done",
            is_imported=True,
            system=System(label=name, reranker="imported"),
            dataset="synthetic",
            first_stage={"kind": "run"},
            depth=DEPTH,
            pool="0" * 16,
            measures=DEFAULT_MEASURES,
            protocol=Protocol(),
        )
        write_imported(folder / name, record, "".join(lines).encode())
    return folder, qrels


def evaluate(folder: Path, qrels: Qrels) -> tuple[dict[tuple[str, str], Pair], float]:
    """Evaluate all runs of a folder and compare all pairs.

    Return the comparisons, and the seconds that they took once all values were computed.
    """
    evaluator = Evaluator(qrels, DEFAULT_MEASURES)
    headline = {}
    for cell in read_results(folder).cells:
        values = evaluator.evaluate(cell.rankings.orders())
        for by_query in values.values():
            bootstrap_interval([*by_query.values()])
        headline[cell.record.cell] = np.array([*values["nDCG@10"].values()])
    started = time.perf_counter()
    return compare_all(headline), time.perf_counter() - started


def test_evaluating_30_systems(
    benchmark: Any, stored: tuple[Path, Qrels], measured: Callable[[str, float], None]
) -> None:
    folder, qrels = stored
    memory = PeakMemory()
    pairs, seconds = benchmark.pedantic(evaluate, (folder, qrels), rounds=1)
    assert len(pairs) == SYSTEMS * (SYSTEMS - 1) // 2
    assert pairs["system-0", "system-29"].permutation_holm < 0.05
    peak = memory.host_bytes()
    measured("evaluation/all-pairs-seconds", seconds)  # the larger folder comes last
    benchmark.extra_info |= {
        "peak_gib": None if peak is None else peak / 2**30,
        "seconds_per_1000_queries": 1e3 * benchmark.stats.stats.median / len(qrels),
    }
