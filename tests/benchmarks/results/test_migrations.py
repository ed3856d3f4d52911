"""What an earlier version wrote is read, shown and finished by this one."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.results.cell import CellWriter, read_record
from benchmarks.results.record import SCHEMA_VERSION
from benchmarks.results.store import read_results
from reports.formats.html import report

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENT = """
name: version-1
datasets: {candidates: tiny.jsonl, qrels: qrels.txt}
first_stages: given
depths: 3
rerankers: [reverse]
protocol: {warmup: 1, repeats: 2}
"""


@pytest.fixture
def old(golden: Path, tmp_path: Path) -> Path:
    """Return a result folder of schema version 1, to be changed at will."""
    return shutil.copytree(golden / "results_v1", tmp_path / "old")


def test_a_record_of_version_1_is_read_in_the_present_schema(old: Path) -> None:
    (cell,) = read_results(old).cells
    assert cell.record.schema_version == SCHEMA_VERSION == 3
    assert [session.warmup_ended for session in cell.record.sessions] == ["fixed"]
    assert cell.record.operations is None  # nothing is invented
    assert cell.record.sessions[0].samples == ()
    assert len(cell.rows) == 2 * 2
    assert cell.rows[0].control_seconds is None
    assert dict(cell.rankings)["q0"] == (("d2", 3.0), ("d1", 2.0), ("d0", 1.0))


def test_a_folder_of_version_1_is_reported(old: Path) -> None:
    assert "reverse" in report([old]).read_text(encoding="utf-8")


def test_a_cell_finished_by_version_1_is_not_measured_again(old: Path, tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    with (tmp_path / "tiny.jsonl").open("w") as hits, (tmp_path / "qrels.txt").open("w") as qrels:
        for q in range(2):
            passages = [{"docid": f"d{p}", "score": 3.0 - p, "content": f"passage {p}"} for p in range(3)]
            query = {"text": f"query {q}", "qid": f"q{q}"}
            hits.write(json.dumps({"query": query, "hits": passages}) + "\n")
            qrels.writelines(f"q{q} 0 d{p} {p}\n" for p in range(3))
    experiment, config = load_experiment(tmp_path / "experiment.yaml")
    (cell,) = plan(experiment)
    before = (old / cell.name / "queries.jsonl").read_bytes()
    assert run(experiment, config, old).exit_status == 0
    assert (old / cell.name / "queries.jsonl").read_bytes() == before
    assert len(read_results(old).cells[0].record.sessions) == 1


def test_what_goes_on_with_a_cell_of_version_1_leaves_its_rows_as_they_are(old: Path) -> None:
    (folder,) = (path.parent for path in old.glob("*/record.json"))
    record = read_record(folder)
    assert record is not None
    before = (folder / "queries.jsonl").read_bytes()
    with CellWriter(folder, record) as writer:
        assert len(writer.done) == 4
    assert (folder / "queries.jsonl").read_bytes() == before
    assert json.loads((folder / "record.json").read_text())["schema_version"] == SCHEMA_VERSION
