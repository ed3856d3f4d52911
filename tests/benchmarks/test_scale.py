"""What measuring itself needs: memory that stays flat and time that is linear in the queries."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from benchmarks.candidates import Pool
from benchmarks.config import load_experiment
from benchmarks.pipeline import run_cells
from benchmarks.plan import plan
from benchmarks.store import read_results
from rerankers.interface import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEPTH = 100
MIB = 2**20


def pool_of(queries: int) -> Pool:
    """Candidates that share a text; the digest is none, for nobody reads this pool again."""
    return Pool(
        digest="0" * 16,
        dataset="many",
        first_stage={"kind": "given"},
        depth=DEPTH,
        queries={f"q{q}": "what is it" for q in range(queries)},
        qrels={},
        candidates={
            f"q{q}": tuple(Candidate(f"q{q}", f"d{p}", "text", float(DEPTH - p)) for p in range(DEPTH))
            for q in range(queries)
        },
        retrieve_seconds={},
        fetch_seconds={},
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_measuring_6980_queries_takes_no_more_memory_than_700_and_ten_times_as_long(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    experiment, _ = load_experiment(write_experiment(rerankers="first-stage"))
    (cell,) = plan(experiment)
    process = psutil.Process()
    grown, seconds = {}, {}
    for queries in (70, 700, 6980):  # the first one pays for what is loaded once
        pool = pool_of(queries)
        before, started = process.memory_info().rss, time.process_time()
        assert run_cells(experiment, [cell], pool, tmp_path / str(queries)) == [None]
        seconds[queries] = time.process_time() - started
        (result,) = read_results(tmp_path / str(queries)).cells
        peak = result.record.sessions[0].peak_host_bytes
        assert peak is not None
        assert len(result.rows) == queries
        grown[queries] = peak - before
        del result
    assert grown[6980] - grown[700] < 8 * MIB  # of 698,000 candidates, whose pool takes 100 MiB
    assert seconds[6980] < 1.5 * 6980 / 700 * seconds[700]
