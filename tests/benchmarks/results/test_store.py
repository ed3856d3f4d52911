"""A result folder is whole after a kill at any instant."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results.cell import CellWriter
from benchmarks.results.cell_record import is_finished, read_record, write_record
from benchmarks.results.record import SCHEMA_VERSION, Protocol, Record, Session, System
from benchmarks.results.store import list_cells, read_about, read_results, trusted, write_experiment
from rerankers.errors import InputError, StoreError
from rerankers.files.folder_lock import FolderLock
from rerankers.interface import Candidate, Cost, PartCost, Ranking, RerankRequest


def make_record(cell: str = "cell", host: str = "one") -> Record:
    return Record(
        cell=cell,
        experiment="test",
        status="running",
        system=System(label="first stage", reranker="first-stage"),
        dataset="tiny",
        first_stage={"kind": "given"},
        depth=3,
        pool="0" * 16,
        measures=("nDCG@10",),
        protocol=Protocol(repeats=2),
        sessions=(Session(started_at="2026-01-01T00:00:00Z", environment={"host": host}),),
    )


def make_ranking(query_id: str, scores: tuple[float, ...] = (3.0, 2.0, 1.0)) -> Ranking:
    candidates = tuple(Candidate(query_id, f"d{i}", "", 0.0) for i in range(len(scores)))
    cost = Cost({"forward": 0.25})
    cost.usage.windows = 1
    cost.usage.fault("missing", 2)
    return Ranking.by_score(RerankRequest(query_id, "?", candidates), scores, cost)


def write(folder: Path, query_ids: list[str], repeat: int = 0, host: str = "one") -> None:
    with CellWriter(folder / "cell", make_record(host=host)) as writer:
        for query_id in query_ids:
            writer.add([make_ranking(query_id)], repeat, 0.5)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, ["q1", "q2"])
    (cell,) = read_results(tmp_path).cells
    assert list(cell.rankings) == ["q1", "q2"]
    assert cell.rankings["q2"] == (("d0", 3.0), ("d1", 2.0), ("d2", 1.0))
    assert cell.rows[0].stage_seconds == {"forward": 0.25}
    assert cell.rows[0].usage == {"windows": 1, "faults": {"missing": 2}}
    assert cell.rows[0].total_seconds == 0.5


def test_what_each_part_of_a_fusion_took_is_kept(tmp_path: Path) -> None:
    ranking = make_ranking("q")
    inner: PartCost = {"reranker": "reverse", "stage_seconds": {"order": 0.25}, "usage": {"windows": 2}}
    outer: PartCost = {"reranker": "fusion", "stage_seconds": {"order": 0.5}, "usage": {"parts": [inner]}}
    ranking.usage.parts = [outer, inner]
    with CellWriter(tmp_path / "cell", make_record()) as writer:
        writer.add([ranking], 0, 0.5)
    (cell,) = read_results(tmp_path).cells
    assert cell.rows[0].usage["parts"] == [outer, inner]


def test_a_query_without_candidates_is_ranked_with_nothing(tmp_path: Path) -> None:
    with CellWriter(tmp_path / "cell", make_record()) as writer:
        writer.add([make_ranking("empty", ())], 0, 0.1)
    (cell,) = read_results(tmp_path).cells
    assert dict(cell.rankings) == {"empty": ()}


def test_scores_that_differ_by_one_bit_stay_apart(tmp_path: Path) -> None:
    with CellWriter(tmp_path / "cell", make_record()) as writer:
        writer.add([make_ranking("q", (0.1, 0.1, 0.1))], 0, 0.1)
    (cell,) = read_results(tmp_path).cells
    scores = np.array([score for _, score in cell.rankings["q"]], dtype=np.float32)
    assert (np.diff(scores) < 0).all()


def test_a_torn_tail_is_skipped_by_readers_and_removed_by_the_next_writer(tmp_path: Path) -> None:
    names = ("ranking.trec", "queries.jsonl")
    written: list[tuple[str, bytes]] = []  # what went into which file, in order
    sizes = dict.fromkeys(names, 0)
    for count in (1, 2, 3):
        write(tmp_path, ["q1", "q2", "q3"][:count])
        for name in names:
            written.append((name, (tmp_path / "cell" / name).read_bytes()[sizes[name] :]))
            sizes[name] += len(written[-1][1])
    whole = (tmp_path / "cell" / "ranking.trec").read_bytes()
    for killed_after in range(0, sum(sizes.values()), 11):
        left, files, committed = killed_after, dict.fromkeys(names, b""), 0
        for name, data in written:
            files[name] += data[:left]
            committed += name == "queries.jsonl" and left >= len(data)
            left = max(0, left - len(data))
        for name in names:
            (tmp_path / "cell" / name).write_bytes(files[name])
        assert len(read_results(tmp_path).cells[0].rankings) == committed
        write(tmp_path, ["q1", "q2", "q3"])
        assert (tmp_path / "cell" / "ranking.trec").read_bytes() == whole


def test_a_mark_whose_ranking_was_lost_is_measured_again(tmp_path: Path) -> None:
    write(tmp_path, ["q1", "q2"])
    path = tmp_path / "cell" / "ranking.trec"
    path.write_bytes(path.read_bytes()[:-5])
    assert list(read_results(tmp_path).cells[0].rankings) == ["q1"]
    write(tmp_path, ["q1", "q2"])
    cell = read_results(tmp_path).cells[0]
    assert [row.query_id for row in cell.rows] == ["q1", "q2"]


def test_a_query_is_never_written_twice(tmp_path: Path) -> None:
    write(tmp_path, ["q1", "q2"])
    write(tmp_path, ["q1", "q2"])
    write(tmp_path, ["q1"], repeat=1)
    rows = read_results(tmp_path).cells[0].rows
    assert [(row.query_id, row.repeat) for row in rows] == [("q1", 0), ("q2", 0), ("q1", 1)]


def test_each_row_tells_which_process_measured_it(tmp_path: Path) -> None:
    write(tmp_path, ["q1"], host="one")
    write(tmp_path, ["q1"], host="left nothing")
    write(tmp_path, ["q1", "q2"], host="two")
    cell = read_results(tmp_path).cells[0]
    hosts = [session.environment["host"] for session in cell.record.sessions]
    assert hosts == ["one", "two"]
    assert [hosts[row.session] for row in cell.rows] == ["one", "two"]


def test_a_ranking_that_differs_between_repeats_is_noticed(tmp_path: Path) -> None:
    with CellWriter(tmp_path / "cell", make_record()) as writer:
        writer.add([make_ranking("q1"), make_ranking("q2")], 0, 0.1)
        writer.add([make_ranking("q1"), make_ranking("q2", (1.0, 2.0, 3.0))], 1, 0.1)
    cell = read_results(tmp_path).cells[0]
    assert cell.unstable_queries() == ["q2"]
    assert cell.rankings["q2"][0] == ("d0", 3.0)  # the first repeat's


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rerankers.files.folder_lock import FolderLock\n"
        "with FolderLock(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"in"
        with pytest.raises(StoreError, match=f"process {holder.pid} is writing here"), FolderLock(tmp_path):
            pass
        holder.kill()
    with FolderLock(tmp_path):
        pass  # a killed holder leaves nothing behind


def test_cells_come_in_the_order_of_the_experiment_and_strangers_stay_out(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        with CellWriter(tmp_path / name, make_record(name)):
            pass
    assert [cell.record.cell for cell in read_results(tmp_path).cells] == ["a", "b", "c"]
    write_experiment(tmp_path, "test", ["c", "a", "not-begun"], {})
    assert [cell.record.cell for cell in read_results(tmp_path).cells] == ["c", "a"]


def test_imported_cells_stay_listed_behind_a_new_runs(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    write_experiment(folder, "test", [], {})
    for name in ("own", "old", "theirs"):
        record = make_record(name).model_copy(update={"is_imported": name == "theirs"})
        (folder / name).mkdir()
        write_record(folder / name, record)
    write_experiment(folder, "test", ["old", "theirs"], {})
    write_experiment(folder, "again", ["own"], {"name": "again", "é": 1})
    about = json.loads((folder / "experiment.json").read_bytes())
    assert about == {
        "schema_version": SCHEMA_VERSION,
        "experiment": "again",
        "cells": ["own", "theirs"],
        "config": {"name": "again", "é": 1},
    }
    write_experiment(folder, "again", ["theirs", "own"], {})
    assert [cell.record.cell for cell in read_results(folder).cells] == ["theirs", "own"]


def test_cells_are_added_to_a_list_once_and_at_its_end(tmp_path: Path) -> None:
    list_cells(tmp_path, ["a"])
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        write_record(tmp_path / name, make_record(name))
    write_experiment(tmp_path, "mine", ["a", "b"], {"key": [1]})
    list_cells(tmp_path, ["c", "a"])
    about = read_about(tmp_path)
    assert about is not None
    assert (about.experiment, about.cells, about.config) == ("mine", ["b", "c", "a"], {"key": [1]})
    assert read_about(tmp_path / "a") is None


def test_a_record_that_asks_for_no_measure_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_record(tmp_path / "a", make_record("a").model_copy(update={"measures": ("nDGC@10",)}))
    with pytest.raises(StoreError, match=rf"{tmp_path}: unknown measure 'nDGC'.*did you mean nDCG"):
        read_results(tmp_path)


def test_what_only_damage_can_cause_is_said_of_the_folders_and_what_is_not_passes(tmp_path: Path) -> None:
    pattern = r"^a, b: .*cannot be read \('gpu'\)\. --debug"
    with pytest.raises(StoreError, match=pattern), trusted([Path("a"), Path("b")]):
        raise KeyError("gpu")
    with pytest.raises(StoreError, match=r"\(ValueError\)"), trusted([tmp_path]):
        raise ValueError
    with pytest.raises(InputError, match=r"^mine$"), trusted([tmp_path]):
        raise InputError("mine")


def test_rankings_are_parsed_when_asked_for_and_their_order_costs_less(tmp_path: Path) -> None:
    with CellWriter(tmp_path / "cell", make_record()) as writer:
        writer.add([make_ranking("q1"), make_ranking("q2", ())], 0, 1.0)
    results = read_results(str(tmp_path))
    assert results.folder == tmp_path
    rankings = results.cells[0].rankings
    assert dict(rankings) == {"q1": (("d0", 3.0), ("d1", 2.0), ("d2", 1.0)), "q2": ()}
    assert rankings.orders() == rankings.orders(3) == {"q1": ["d0", "d1", "d2"], "q2": []}
    assert rankings.orders(2) == {"q1": ["d0", "d1"], "q2": []}
    assert len(rankings) == 2


def test_a_folder_without_results_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rerankbench run"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("record.json", "{", r"record.json: damaged"),
        ("record.json", '{"schema_version": 99}', "schema version 99"),
        ("record.json", '{"schema_version": 2}', "schema version 2, this is 3; run the experiment again"),
        ("record.json", '{"schema_version": 3}', "Field required"),
        ("record.json", '{"schema_version": "1"}', "schema version 1, this is 3"),
        ("../experiment.json", "[]", r"experiment.json: damaged \(Input should .*\); delete it, and run"),
    ],
)
def test_damage_is_reported_by_file(tmp_path: Path, name: str, content: str, message: str) -> None:
    write(tmp_path, ["q1"])
    (tmp_path / "cell" / name).write_text(content)
    with pytest.raises(StoreError, match=message):
        read_results(tmp_path)


def finish(folder: Path, query_ids: list[str]) -> Path:
    with CellWriter(folder / "cell", make_record()) as writer:
        writer.add([make_ranking(query_id) for query_id in query_ids], 0, 0.5)
        writer.update(status="done")
    return folder / "cell"


def test_a_finished_cell_holds_the_digests_of_its_files(tmp_path: Path) -> None:
    cell = finish(tmp_path, ["q1"])
    record = read_record(cell)
    assert record is not None
    names = ("ranking.trec", "queries.jsonl")
    assert record.seal == {name: hashlib.sha256((cell / name).read_bytes()).hexdigest() for name in names}
    write_record(cell, record.model_copy(update={"status": "running"}))
    assert json.loads((cell / "record.json").read_text())["seal"] is None


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, how) for name in ("ranking.trec", "queries.jsonl") for how in ("cut", "changed", "deleted")),
        ("record.json", "cut"),
        ("record.json", "deleted"),
    ],
)
def test_no_number_of_a_damaged_cell_is_read_and_its_writer_measures_what_was_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    cell = finish(tmp_path, ["q1", "q2"])
    whole = {path.name: path.read_bytes() for path in cell.iterdir()}
    assert is_finished(cell)
    if how == "deleted":
        (cell / name).unlink()
    else:
        damaged = (
            whole[name][:-9] if how == "cut" else whole[name].replace(b"0.5", b"0.4").replace(b"3", b"2")
        )
        (cell / name).write_bytes(damaged)
    write_experiment(tmp_path, "test", ["cell"], {})
    if name == "record.json":
        with pytest.raises(StoreError, match=rf"^{cell}/record.json: .*run the same experiment again"):
            read_results(tmp_path)
    else:
        results = read_results(tmp_path)
        (read,) = results.cells
        assert (read.record.status, read.rows, dict(read.rankings)) == ("damaged", [], {})
        assert results.damaged[0].startswith(f"{cell / name}: ")
        assert f"damaged, and left out: {cell / name}: " in capsys.readouterr().err
    assert not is_finished(cell)
    with CellWriter(cell, make_record()) as writer:
        # rows that match the seal stand; what is lost of the rankings is measured again
        assert writer.done == ({("q1", 0)} if (name, how) == ("ranking.trec", "cut") else set())
        writer.add([make_ranking("q1"), make_ranking("q2")], 0, 0.5)
        writer.update(status="done")
    assert is_finished(cell)
    assert (cell / "ranking.trec").read_bytes() == whole["ranking.trec"]
    assert [row.query_id for row in read_results(tmp_path).cells[0].rows] == ["q1", "q2"]


def test_a_row_that_is_there_twice_is_reported(tmp_path: Path) -> None:
    write(tmp_path, ["q1"])
    path = tmp_path / "cell" / "queries.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    results = read_results(tmp_path)
    assert [cell.record.status for cell in results.cells] == ["damaged"]
    assert "queries.jsonl:2: query 'q1', repeat 0 is there twice" in results.damaged[0]


def test_a_row_of_a_process_that_the_record_does_not_know_is_measured_again(tmp_path: Path) -> None:
    write(tmp_path, ["q1"])
    path = tmp_path / "cell" / "queries.jsonl"
    path.write_text(path.read_text().replace('"session":0', '"session":1'))
    (cell,) = read_results(tmp_path).cells
    assert cell.record.status == "damaged"
    assert cell.record.error is not None
    assert cell.record.error.startswith("cell/queries.jsonl: row 1 is of session 1, and record.json has 1")
    write(tmp_path, ["q1"])
    assert [row.session for row in read_results(tmp_path).cells[0].rows] == [0]


def test_ids_that_a_trec_run_cannot_hold_are_refused(tmp_path: Path) -> None:
    with (
        CellWriter(tmp_path / "cell", make_record()) as writer,
        pytest.raises(InputError, match="'two words' is empty or has a space"),
    ):
        writer.add([make_ranking("two words")], 0, 0.1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_a_full_disk_says_so_and_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path, ["q1"])
    with CellWriter(tmp_path / "cell", make_record()) as writer:
        whole = writer._rankings
        writer._rankings = open("/dev/full", "ab", buffering=0)  # noqa: SIM115, PTH123 - closed by the writer
        with pytest.raises(StoreError, match="make room"):
            writer.add([make_ranking("q2")], 0, 0.1)
        whole.close()
    write(tmp_path, ["q1", "q2"])
    assert list(read_results(tmp_path).cells[0].rankings) == ["q1", "q2"]


def test_a_cell_that_got_no_pool_has_an_empty_one(tmp_path: Path) -> None:
    write(tmp_path, ["q1"])
    pool = read_results(tmp_path).pool("")
    assert (pool.dataset, pool.depth, pool.queries, pool.qrels, dict(pool.candidates)) == ("", 0, {}, {}, {})
    with pytest.raises(StoreError, match="0000000000000000"):
        read_results(tmp_path).pool("0" * 16)


def test_a_cell_that_is_listed_without_its_record_is_none(tmp_path: Path) -> None:
    write(tmp_path, ["q1"])
    write_experiment(tmp_path, "test", ["cell", "other"], {})
    (tmp_path / "other").mkdir()
    assert [cell.record.cell for cell in read_results(tmp_path).cells] == ["cell"]


def test_files_that_people_read_are_indented_and_keep_their_letters(tmp_path: Path) -> None:
    write(tmp_path, ["q1"])
    write_experiment(tmp_path, "été", ["cell"], {"folder": tmp_path})
    assert '\n  "experiment": "été",\n' in (tmp_path / "experiment.json").read_text(encoding="utf-8")
    list_cells(tmp_path, ["cell"])
    assert '\n  "experiment": "été",\n' in (tmp_path / "experiment.json").read_text(encoding="utf-8")
    assert '\n  "cell": "cell",\n' in (tmp_path / "cell" / "record.json").read_text(encoding="utf-8")


def test_records_are_plain_json(tmp_path: Path) -> None:
    write(tmp_path, ["q1"])
    record = json.loads((tmp_path / "cell" / "record.json").read_text())
    assert record["schema_version"] == SCHEMA_VERSION
    assert record["system"]["label"] == "first stage"
