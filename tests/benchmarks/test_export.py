"""What is exported is what was measured, and others can read it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.cli import main
from benchmarks.config import load_experiment
from benchmarks.executors.local import run
from benchmarks.export import export
from benchmarks.imports import import_runs, stored_pool
from benchmarks.measures import evaluate
from benchmarks.readers import read_run
from benchmarks.store import read_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def results(write_experiment: Callable[..., Path], tmp_path: Path) -> Path:
    """A sweep over a seed and two repeats of it, and a system without options."""
    systems = [{"name": "random", "options": {"seed": [1, 2]}}, "reverse"]
    path = write_experiment(rerankers=systems, protocol={"repeats": 2})
    run(*load_experiment(path), tmp_path / "results")
    return tmp_path / "results"


def table_of(results: Path, out: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    (path,) = export(results, "parquet", out)
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def test_a_run_is_headed_with_its_metadata(results: Path, tmp_path: Path) -> None:
    files = export(results, "trec", tmp_path / "out")
    cells = read_results(results).cells
    assert [path.stem for path in files] == [cell.record.cell for cell in cells]
    lines = files[0].read_text().splitlines()
    end = lines.index("# ir_metadata.end")
    assert lines[0] == "# ir_metadata.start"
    assert all(line.startswith("# ") for line in lines[: end + 1])
    said = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines[1:end]))
    components = {"platform", "research goal", "implementation", "method", "actor", "data"}
    assert components <= set(said)
    assert said["tag"] == cells[0].record.cell
    assert said["platform"]["hardware"]["cpu"]["model"]
    assert any(
        name.startswith("rerankbench==") for name in said["platform"]["software"]["libraries"]["python"]
    )
    first, second = said["method"]["retrieval"]
    assert second == {
        "name": "random (seed=1)",
        "method": "rerankers.controls.Random",
        "seed": 1,
        "reranks": first["name"],
    }
    assert said["data"]["test collection"]["name"] == "hits"
    assert said["research goal"]["evaluation"]["reported measures"][0] == "nDCG@10"
    assert said["rerankbench"]["candidate pool"] == cells[0].record.pool
    whole = (results / cells[0].record.cell / "ranking.trec").read_text()
    assert "\n".join(lines[end + 1 :]) + "\n" == whole


def test_an_exported_run_can_be_imported_again(results: Path, tmp_path: Path) -> None:
    (path, *_) = export(results, "trec", tmp_path / "out")
    cell = read_results(results).cells[0]
    assert read_run(path)["q1"] == list(cell.rankings["q1"])
    import_runs(results, stored_pool(results, cell.record.pool), {"again": path})
    again = read_results(results).cells[-1]
    assert again.rankings["q1"] == cell.rankings["q1"]
    assert len(export(results, "trec", tmp_path / "out")) == 3 + 2


def test_the_table_has_a_row_for_each_query_and_repeat_and_a_column_for_each_factor(
    results: Path, tmp_path: Path
) -> None:
    rows = table_of(results, tmp_path / "out")
    assert len(rows) == 3 * 3 * 2
    assert [row["option.seed"] for row in rows[::6]] == [1, 2, None]
    assert {row["depth"] for row in rows} == {4}
    assert {row["first_stage.kind"] for row in rows} == {"given"}
    assert {row["protocol.mode"] for row in rows} == {"latency"}
    store = read_results(results)
    cell = store.cells[1]
    row = rows[6 + 4]
    measured = cell.rows[4]
    assert (row["system"], row["query_id"], row["repeat"]) == ("random (seed=2)", "q1", 1)
    assert row["total_seconds"] == measured.total_seconds
    assert row["seconds.order"] == measured.stage_seconds["order"]
    qrels = store.pool(cell.record.pool).qrels
    assert row["nDCG@10"] == pytest.approx(evaluate(cell.rankings, qrels, ["nDCG@10"])["nDCG@10"]["q1"])


def test_options_of_different_kinds_share_a_column(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    run(*load_experiment(write_experiment(rerankers="random")), tmp_path / "out")
    (cell,) = (path.parent for path in (tmp_path / "out").glob("*/record.json"))
    other = cell.with_name("other")
    other.mkdir()
    for name in ("ranking.trec", "queries.jsonl"):
        (other / name).write_bytes((cell / name).read_bytes())
    record = (cell / "record.json").read_text()
    for path, options in ((cell, '{"top": 3, "by": [1, 2]}'), (other, '{"top": 0.5, "by": "words"}')):
        (path / "record.json").write_text(record.replace('"options": {}', f'"options": {options}'))
    (tmp_path / "out" / "experiment.json").unlink()
    rows = table_of(tmp_path / "out", tmp_path / "table")
    assert [row["option.top"] for row in rows[::3]] == [3.0, 0.5]
    assert [row["option.by"] for row in rows[::3]] == ["[1, 2]", "words"]


def test_imported_runs_are_rows_without_times(results: Path, tmp_path: Path) -> None:
    (path, *_) = export(results, "trec", tmp_path / "out")
    pool = stored_pool(results, read_results(results).cells[0].record.pool)
    import_runs(results, pool, {"theirs": path})
    imported = [row for row in table_of(results, tmp_path / "out") if row["is_imported"]]
    assert [row["query_id"] for row in imported if row["system"] == "theirs"] == ["q0", "q1", "q2"]
    assert {row["total_seconds"] for row in imported} == {None}


def test_without_pyarrow_the_message_says_what_to_install(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(results), "--format", "parquet", "--out", str(tmp_path / "out")]) == 2
    assert 'pip install "rerankbench[export]"' in capsys.readouterr().err


def test_the_command_prints_the_files(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(results), "--format", "trec", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert all(line.endswith(".trec") for line in printed)


def test_unfinished_results_are_refused(results: Path, tmp_path: Path) -> None:
    for path in results.glob("*/record.json"):
        path.write_text(path.read_text().replace('"done"', '"running"'))
    assert main(["export", str(results), "--format", "trec", "--out", str(tmp_path / "out")]) == 2
