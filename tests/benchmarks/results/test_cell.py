"""A cell's folder keeps each query's ranking and times, whatever was written, lost or torn before."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.cell import CellWriter
from benchmarks.results.cell_lines import blocks_of, committed
from benchmarks.results.cell_record import read_record, write_imported
from benchmarks.results.record import Protocol, Record, Session, System
from rerankers.errors import StoreError
from rerankers.interface import Candidate, Cost, Ranking, RerankRequest

if TYPE_CHECKING:
    from pathlib import Path


def make_record(*hosts: str) -> Record:
    """Return a record of sessions on these hosts."""
    return Record(
        cell="cell",
        experiment="test",
        status="running",
        system=System(label="first stage", reranker="first-stage"),
        dataset="tiny",
        first_stage={"kind": "given"},
        depth=2,
        pool="0" * 16,
        measures=("nDCG@10",),
        protocol=Protocol(),
        sessions=tuple(Session(started_at="2026-01-01", environment={"host": host}) for host in hosts),
    )


def make_ranking(query_id: str) -> Ranking:
    hits = tuple(Candidate(query_id, doc_id, "", 0.0) for doc_id in ("a", "b"))
    return Ranking.by_score(RerankRequest(query_id, "?", hits), [1.0, 2.0], Cost())


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    with CellWriter(tmp_path / "runs" / "cell", make_record("one")) as writer:
        assert writer.add([make_ranking("q")], 0, 0.5) == 1
    assert (tmp_path / "runs" / "cell" / "ranking.trec").read_text() == "q Q0 b 1 2 cell\nq Q0 a 2 1 cell\n"


def test_of_rankings_made_together_only_the_new_ones_are_added(tmp_path: Path) -> None:
    with CellWriter(tmp_path, make_record("one")) as writer:
        assert writer.add([make_ranking("q2")], 0, 0.5) == 1
        assert writer.add([make_ranking("q1"), make_ranking("q2"), make_ranking("q3")], 0, 0.5) == 2
        assert writer.add([make_ranking("q3")], 0, 0.5) == 0
    assert [row.query_id for row in committed(tmp_path)[1]] == ["q2", "q1", "q3"]


def test_every_row_has_its_times_and_the_first_of_a_batch_the_control_s(tmp_path: Path) -> None:
    with CellWriter(tmp_path, make_record("one")) as writer:
        writer.add([make_ranking("q1"), make_ranking("q2")], 0, 0.5, 2.0, 0.125, 0.25)
    rows = committed(tmp_path)[1]
    assert [row.total_seconds for row in rows] == [0.5, 0.5]
    assert [row.arrived_seconds for row in rows] == [2.0, 2.0]
    assert [row.queued_seconds for row in rows] == [0.125, 0.125]
    assert [row.control_seconds for row in rows] == [0.25, None]


def test_a_row_names_its_ranking_by_a_digest_of_the_lines(tmp_path: Path) -> None:
    with CellWriter(tmp_path, make_record("one")) as writer:
        writer.add([make_ranking("q")], 0, 0.5)
    digest = hashlib.sha256((tmp_path / "ranking.trec").read_bytes()).hexdigest()
    assert committed(tmp_path)[1][0].ranking == digest[:16]


def test_a_process_that_measured_nothing_leaves_no_session(tmp_path: Path) -> None:
    for host in ("left nothing", "one"):
        with CellWriter(tmp_path, make_record("elsewhere", host)) as writer:
            assert writer.session == 0
    record = read_record(tmp_path)
    assert record is not None
    assert [session.environment["host"] for session in record.sessions] == ["one"]


def test_changes_of_the_record_and_of_the_session_are_there_at_once(tmp_path: Path) -> None:
    with CellWriter(tmp_path, make_record("one")) as writer:
        writer.add([make_ranking("q")], 0, 0.5)
    with CellWriter(tmp_path, make_record("two")) as writer:
        writer.update(status="done")
        writer.update_session(load_seconds=1.5)
        record = read_record(tmp_path)
    assert record is not None
    assert record.status == "done"
    assert [session.load_seconds for session in record.sessions] == [None, 1.5]


def test_a_ranking_lost_from_the_middle_costs_no_other(tmp_path: Path) -> None:
    with CellWriter(tmp_path, make_record("one")) as writer:
        writer.add([make_ranking("q1"), make_ranking("q2"), make_ranking("q3")], 0, 0.5)
    path = tmp_path / "ranking.trec"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "q2" not in line))
    blocks, rows = committed(tmp_path)
    assert list(blocks) == [row.query_id for row in rows] == ["q1", "q3"]


def test_lines_of_a_query_that_stand_apart_are_one_ranking(tmp_path: Path) -> None:
    write_imported(tmp_path / "theirs", make_record(), b"q1 Q0 a 1 2 t\nq2 Q0 a 1 2 t\nq1 Q0 b 2 1 t\n")
    assert blocks_of(tmp_path / "theirs") == {
        "q1": b"q1 Q0 a 1 2 t\nq1 Q0 b 2 1 t\n",
        "q2": b"q2 Q0 a 1 2 t\n",
    }
    assert read_record(tmp_path / "theirs") == make_record()
    assert blocks_of(tmp_path / "not begun") == {}


def test_an_id_that_is_no_text_is_refused_by_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "ranking.trec").write_bytes(b"\xff Q0 a 1 2 t\n")
    with pytest.raises(
        StoreError, match=rf"^{tmp_path}/ranking.trec: holds bytes that are not text; run the same"
    ):
        blocks_of(tmp_path)


def test_what_is_wrong_in_a_record_is_named(tmp_path: Path) -> None:
    written = json.loads(make_record("one").model_dump_json())
    del written["system"]["label"]
    (tmp_path / "record.json").write_text(json.dumps(written))
    with pytest.raises(StoreError, match=r"record.json: system.label: Field required; run the same"):
        read_record(tmp_path)
