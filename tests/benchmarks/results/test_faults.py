"""Whatever happens to a run, what it leaves is completed to the rankings of an uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 2
KILLS = int(os.environ.get("RERANKBENCH_KILLS", "20"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX limits")


@pytest.fixture
def make_experiment(write_experiment: Callable[..., Path]) -> Callable[[int], Path]:
    """Two systems, two repeats: 48 milliseconds of work a query."""

    def make(queries: int) -> Path:
        systems = [
            {"name": "slow", "label": label, "options": {"seed": seed}}
            for seed, label in ((1, "a"), (2, "b"))
        ]
        return write_experiment(
            queries=queries, depth=10, rerankers=systems, protocol={"repeats": REPEATS, "warmup": 1}
        )

    return make


def nursery(experiment: Path, out: str, *how: str) -> tuple[list[int], str]:
    """How each run into the folder `out` ended, and what they wrote to standard error."""
    command = [sys.executable, str(Path(__file__).with_name("nursery.py")), *how]
    done = subprocess.run(
        [*command, "run", str(experiment), "--out", str(experiment.parent / out)],
        cwd=experiment.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [int(line) for line in done.stdout.splitlines() if line.lstrip("-").isdigit()], done.stderr


def rankings(folder: Path) -> dict[str, bytes]:
    return {cell.parent.name: cell.read_bytes() for cell in folder.glob("*/ranking.trec")}


def assert_complete_and_equal(folder: Path, whole: Path, queries: int) -> None:
    """Rankings are byte-identical, every query is there exactly once per repeat, no scratch file is left."""
    assert len(rankings(whole)) == 2
    assert rankings(folder) == rankings(whole)
    for cell in rankings(folder):
        lines = (folder / cell / "queries.jsonl").read_text().splitlines()
        counts = Counter((row["query_id"], row["repeat"]) for row in map(json.loads, lines))
        assert counts == {(f"q{q}", repeat): 1 for q in range(queries) for repeat in range(REPEATS)}
    assert [cell.record.status for cell in read_results(folder).cells] == ["done", "done"]
    assert [path.name for path in folder.rglob(".*")] == [".lock"]


def test_a_run_killed_many_times_at_random_ends_with_the_rankings_of_an_uninterrupted_one(
    make_experiment: Callable[[int], Path],
) -> None:
    experiment = make_experiment(60)
    folder = experiment.parent / "killed"
    assert nursery(experiment, "whole", "run")[0] == [0]
    ends, _ = nursery(experiment, "killed", "kill", str(KILLS), "7")
    assert set(ends) <= {-signal.SIGKILL, 0}  # a slow kill may find a run that is done
    assert ends.count(-signal.SIGKILL) > 2 * KILLS / 3  # most hit a run that was still at work
    assert nursery(experiment, "killed", "run")[0] == [0]
    assert_complete_and_equal(folder, experiment.parent / "whole", 60)
    sessions = [len(cell.record.sessions) for cell in read_results(folder).cells]
    assert sum(sessions) > 2 + KILLS // 4  # many of them while it was measuring


def test_a_run_whose_disk_fills_up_says_so_and_ends_with_the_rankings_of_an_undisturbed_one(
    make_experiment: Callable[[int], Path],
) -> None:
    experiment = make_experiment(20)
    assert nursery(experiment, "whole", "run")[0] == [0]
    size = max(path.stat().st_size for path in (experiment.parent / "whole").rglob("*.*"))
    limits = [0, 100, 900, 3_001, 4_000, 7_777, size // 3, size // 2, size - 1]  # bytes, of the largest file
    ends, message = nursery(experiment, "full", "limit", ",".join(map(str, limits)))
    assert ends == [1] * len(limits)
    complaints = [line for line in message.splitlines() if line.startswith("rerankbench:")]
    assert len(complaints) == len(limits)
    assert all("make room" in line for line in complaints)
    assert "Traceback" not in message
    assert nursery(experiment, "full", "run")[0] == [0]
    assert_complete_and_equal(experiment.parent / "full", experiment.parent / "whole", 20)


def test_the_second_of_two_runs_into_one_folder_is_refused_with_one_line_and_disturbs_nothing(
    make_experiment: Callable[[int], Path],
) -> None:
    experiment = make_experiment(20)
    assert nursery(experiment, "whole", "run")[0] == [0]
    ends, message = nursery(experiment, "shared", "pair")
    assert ends == [1, 0]
    (complaint,) = (line for line in message.splitlines() if line.startswith("rerankbench:"))
    assert "is writing here; wait for it" in complaint
    assert_complete_and_equal(experiment.parent / "shared", experiment.parent / "whole", 20)
