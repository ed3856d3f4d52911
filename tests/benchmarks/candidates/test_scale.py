"""What measuring itself needs: memory that stays flat and time that is linear in the queries."""

from __future__ import annotations

import gc
import pickle
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from benchmarks.candidates.frozen import Pool
from benchmarks.candidates.pool_folder import load_pool, save_pool
from benchmarks.candidates.scratch import ScratchCandidates, ScratchTexts
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.pipeline import run_cells
from benchmarks.results.store import read_results
from rerankers.errors import StoreError
from rerankers.interface import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH = 100
MIB = 2**20


def pool_in(folder: Path, queries: int) -> Path:
    """Return a frozen pool in its folder; the passages share a text, so that few are kept."""
    pool = Pool.freeze(
        dataset="many",
        first_stage={"kind": "given"},
        depth=DEPTH,
        queries={f"q{q}": "what is it" for q in range(queries)},
        qrels={},
        candidates={
            f"q{q}": [Candidate(f"q{q}", f"d{p}", "text", float(DEPTH - p)) for p in range(DEPTH)]
            for q in range(queries)
        },
    )
    return save_pool(pool, folder / "pools")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_measuring_3500_queries_takes_no_more_memory_than_350_and_ten_times_as_long(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    experiment, _ = load_experiment(write_experiment(rerankers="first-stage"))
    (cell,) = plan(experiment)
    process = psutil.Process()
    grown, seconds = {}, {}
    for queries in (35, 350, 3500):  # the first one pays for what is loaded once
        frozen = pool_in(tmp_path / str(queries), queries)
        gc.collect()
        before = process.memory_info().rss
        pool = load_pool(frozen)
        started = time.process_time()
        assert run_cells(experiment, [cell], pool, tmp_path / str(queries)) == [None]
        seconds[queries] = time.process_time() - started
        (result,) = read_results(tmp_path / str(queries)).cells
        peak = result.record.sessions[0].peak_host_bytes
        assert peak is not None
        assert len(result.rows) == queries
        grown[queries] = peak - before
        del result, pool
    assert grown[3500] - grown[350] < 12 * MIB  # of 350,000 candidates, which take 50 MiB as objects
    assert seconds[3500] < 1.5 * 3500 / 350 * seconds[350]


def test_a_pool_is_kept_in_some_hundred_bytes_a_query_however_long_its_passages_are(tmp_path: Path) -> None:
    def held(queries: int) -> int:
        pool = Pool.freeze(
            dataset="long",
            first_stage={"kind": "given"},
            depth=10,
            queries={f"q{q}": "what is it" for q in range(queries)},
            qrels={},
            candidates={
                f"q{q}": [Candidate(f"q{q}", f"d{q}-{p}", f"{q} {p} " * 200, 1.0) for p in range(10)]
                for q in range(queries)
            },
        )
        folder = save_pool(pool, tmp_path)
        tracemalloc.start()
        loaded = load_pool(folder)
        gc.collect()
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert loaded == pool
        assert peak < 2 * MIB
        return now

    held(1)  # pays for what is loaded once
    assert (held(600) - held(100)) / 500 < 1500  # of the 12,000 bytes that ten passages have


def test_texts_are_found_by_their_hash_and_what_is_not_there_is_not() -> None:
    texts = ScratchTexts([(7, "sieben"), (2**64 - 1, "größte"), (0, "")])
    assert texts.find([2**64 - 1, 7, 5, 0, 7]) == ["größte", "sieben", None, "", "sieben"]
    assert ScratchTexts([]).find([1, 2]) == [None, None]


def test_candidates_go_to_another_process_with_all_that_is_in_them() -> None:
    hits = (Candidate("q", "d1", "text", 2.0), Candidate("q", "d2", "\u2028", 1.0))
    candidates = ScratchCandidates([("q", hits), ("empty", ())])
    assert dict(pickle.loads(pickle.dumps(candidates))) == {"q": hits, "empty": ()}  # noqa: S301 - our own
    assert candidates.counts == {"q": 2, "empty": 0}
    with pytest.raises(KeyError):
        candidates["other"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_a_full_disk_for_temporary_files_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("wb")  # noqa: SIM115 - closed by its owner
    monkeypatch.setattr("tempfile.TemporaryFile", lambda prefix: full)
    with pytest.raises(StoreError, match="set TMPDIR to a larger disk"):
        ScratchCandidates([("q", [Candidate("q", "d", "text", 1.0)])])
