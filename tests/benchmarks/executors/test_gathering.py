"""Rows of tasks go into a cell as they arrive, each of them once, and end in the order of the queries."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from benchmarks.executors.gathering import Gathering, Report, State
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.pipeline import freeze_pool, run_cells
from benchmarks.results.cell_lines import committed
from benchmarks.results.cell_record import check_seal, read_record
from benchmarks.results.record import Executor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HERE, THERE = Executor(name="ray", node="aaaaaaaa"), Executor(name="ray", node="bbbbbbbb")


@pytest.fixture
def gathering(write_experiment: Callable[..., Path], tmp_path: Path) -> Iterator[Gathering]:
    """Return a cell of four queries that waits for two tasks;
    what `measured` returns is its whole content.
    """
    experiment, _ = load_experiment(write_experiment(queries=4, rerankers=["reverse"]))
    (cell,) = plan(experiment)
    pool = freeze_pool(cell.pool, tmp_path, store_text=True)
    assert run_cells(experiment, [cell], pool, tmp_path / "elsewhere") == [None]
    with closing(Gathering(experiment, cell, pool, tmp_path)) as gathering:
        gathering.tasks = 2
        yield gathering


def measured(gathering: Gathering, tmp_path: Path, *query_ids: str, status: str = "running") -> Report:
    folder = tmp_path / "elsewhere" / gathering.plan.name
    record = read_record(folder)
    assert record is not None
    blocks, rows = committed(folder)
    return Report(
        State(
            record.model_copy(update={"status": status}),
            {query_id: blocks[query_id] for query_id in query_ids},
            [row for row in rows if row.query_id in query_ids],
        )
    )


def test_rows_stand_in_the_folder_when_they_have_arrived_and_none_stands_twice(
    gathering: Gathering, tmp_path: Path
) -> None:
    folder = tmp_path / gathering.plan.name
    assert gathering.add(measured(gathering, tmp_path), None, HERE) == (None, 0)
    assert gathering.add(measured(gathering, tmp_path, "q3"), None, HERE) == (0, 1)
    assert [row.query_id for row in committed(folder)[1]] == ["q3"]
    record = read_record(folder)
    assert record is not None
    assert [session.executor for session in record.sessions] == [HERE]
    assert gathering.add(measured(gathering, tmp_path, "q2", "q3"), 0, HERE) == (0, 1)
    gathering.end_task()
    assert gathering.add(measured(gathering, tmp_path, "q0", "q1", "q3", status="done"), None, THERE) == (
        1,
        2,
    )
    assert [row.query_id for row in committed(folder)[1]] == ["q3", "q2", "q0", "q1"]
    gathering.end_task()
    record = read_record(folder)
    assert record is not None
    check_seal(folder, record)
    assert record.status == "done"
    assert [session.executor for session in record.sessions] == [HERE, THERE]
    assert [(row.query_id, row.session) for row in committed(folder)[1]] == [
        ("q0", 1),
        ("q1", 1),
        ("q2", 0),
        ("q3", 0),
    ]
    expected = (tmp_path / "elsewhere" / gathering.plan.name / "ranking.trec").read_bytes()
    assert (folder / "ranking.trec").read_bytes() == expected


def test_a_task_goes_on_from_what_has_arrived(gathering: Gathering, tmp_path: Path) -> None:
    gathering.add(measured(gathering, tmp_path, "q0", "q1"), None, HERE)
    earlier = gathering.part(["q1", "q2"])
    assert [row.query_id for row in earlier.rows] == ["q1"]
    assert earlier.blocks.keys() == {"q1"}
    assert gathering.is_measured(["q0", "q1"])
    assert not gathering.is_measured(["q1", "q2"])


def test_a_failed_task_fails_its_cell_and_keeps_the_rows_of_others(
    gathering: Gathering, tmp_path: Path
) -> None:
    gathering.add(measured(gathering, tmp_path, "q0", status="failed")._replace(failure=("x", 2)), None, HERE)
    gathering.end_task()
    gathering.add(measured(gathering, tmp_path, "q1", status="done"), None, THERE)
    gathering.end_task()
    record = read_record(tmp_path / gathering.plan.name)
    assert record is not None
    assert (record.status, record.error) == ("failed", "x")
    assert [row.query_id for row in committed(tmp_path / gathering.plan.name)[1]] == ["q0", "q1"]
