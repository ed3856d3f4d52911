"""What is exported is what was measured, and others can read it."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import subprocess
import sys
from collections import Counter
from math import log2
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.cli.main import main
from benchmarks.datasets.readers import read_qrels, read_run
from benchmarks.evaluation.measures import evaluate
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.results.exchange.export import export
from benchmarks.results.exchange.imports import import_runs, labelled_runs, stored_pool
from benchmarks.results.exchange.interchange import qrels_file
from benchmarks.results.store import read_results
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def results(write_experiment: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a sweep over a seed and two repeats of it, and a system without options."""
    systems = [{"name": "random", "options": {"seed": [1, 2]}}, "reverse"]
    path = write_experiment(rerankers=systems, protocol={"repeats": 2})
    run(*load_experiment(path), tmp_path / "results")
    return tmp_path / "results"


def table_of(results: Path, out: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    (path,) = export(results, "parquet", out)
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def test_a_run_is_the_ranking_alone_and_its_metadata_stand_beside_it(results: Path, tmp_path: Path) -> None:
    export(results, "trec", tmp_path / "out")
    cell = read_results(results).cells[0].record
    run = tmp_path / "out" / f"{cell.cell}.trec"
    assert run.read_bytes() == (results / cell.cell / "ranking.trec").read_bytes()
    metadata = yaml.safe_load(run.with_suffix(".metadata.yaml").read_text())
    components = {"platform", "research goal", "implementation", "method", "actor", "data"}
    assert components <= set(metadata)
    assert metadata["tag"] == cell.cell
    assert metadata["platform"]["hardware"]["cpu"]["model"]
    assert any(
        name.startswith("rerankbench==") for name in metadata["platform"]["software"]["libraries"]["python"]
    )
    first, second = metadata["method"]["retrieval"]
    assert second == {
        "name": "random (seed=1)",
        "method": "rerankers.baselines.Random",
        "seed": 1,
        "reranks": first["name"],
    }
    collection = metadata["data"]["test collection"]
    assert collection["name"] == "hits"
    assert (run.parent / collection["qrels"]).is_file()
    assert metadata["research goal"]["evaluation"]["reported measures"][0] == "nDCG@10"
    assert metadata["rerankbench"]["candidate pool"] == cell.pool


def test_judgements_are_exported_once_and_as_trec_writes_them(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = export(results, "trec", out)
    (qrels,) = out.glob("*.qrels")
    assert written.count(qrels) == 1
    expected = [f"q{q} 0 q{q}-d{p} {p % 3}" for q in range(3) for p in range(4)]
    assert sorted(qrels.read_text().splitlines()) == sorted(expected)
    assert read_qrels(qrels) == read_qrels(tmp_path / "qrels.txt")


def test_a_candidate_set_without_judgements_has_no_qrels_file(results: Path) -> None:
    pool = read_results(results).pool(read_results(results).cells[0].record.pool)
    assert qrels_file(pool) is not None
    assert qrels_file(dataclasses.replace(pool, qrels={})) is None


def test_a_judged_id_that_no_trec_file_holds_is_refused(
    results: Path,
) -> None:
    pool = read_results(results).pool(read_results(results).cells[0].record.pool)
    with pytest.raises(InputError, match=r"'a b' is empty or has a space"):
        qrels_file(dataclasses.replace(pool, qrels={"q0": {"a b": 1}}))


def ir_measures_mean(qrels: Path, run: Path) -> float:
    ir_measures = pytest.importorskip("ir_measures")
    judged, ranked = ir_measures.read_trec_qrels(str(qrels)), ir_measures.read_trec_run(str(run))
    values: dict[Any, float] = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], judged, ranked)
    return values[ir_measures.nDCG @ 10]


def pytrec_eval_mean(qrels: Path, run: Path) -> float:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    with qrels.open() as judged, run.open() as ranked:
        evaluator = pytrec_eval.RelevanceEvaluator(pytrec_eval.parse_qrel(judged), {"ndcg_cut.10"})
        values = evaluator.evaluate(pytrec_eval.parse_run(ranked))
    return float(fmean(by_measure["ndcg_cut_10"] for by_measure in values.values()))


def pyterrier_mean(qrels: Path, run: Path) -> float:
    pt = pytest.importorskip("pyterrier")
    judged, ranked = pt.io.read_qrels(str(qrels)), pt.io.read_results(str(run))
    values: dict[str, float] = pt.Evaluate(ranked, judged, metrics=["ndcg_cut_10"])
    return values["ndcg_cut_10"]


def ranx_mean(qrels: Path, run: Path) -> float:
    ranx = pytest.importorskip("ranx")
    judged, ranked = ranx.Qrels.from_file(str(qrels), kind="trec"), ranx.Run.from_file(str(run), kind="trec")
    return float(ranx.evaluate(judged, ranked, "ndcg@10"))


def trec_eval_mean(qrels: Path, run: Path) -> float:
    program = shutil.which("trec_eval")
    if program is None:
        pytest.skip("trec_eval is not installed")
    command = [program, "-m", "ndcg_cut.10", str(qrels), str(run)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("mean", "tolerance"),
    [
        (ir_measures_mean, 1e-15),
        (pytrec_eval_mean, 1e-15),
        (pyterrier_mean, 1e-15),
        (ranx_mean, 1e-15),
        (trec_eval_mean, 5e-5),  # it prints four digits
    ],
)
def test_the_programs_that_evaluate_runs_read_an_exported_one_to_the_same_value(
    results: Path, tmp_path: Path, mean: Callable[[Path, Path], float], tolerance: float
) -> None:
    out = tmp_path / "out"
    export(results, "trec", out)
    (qrels,) = out.glob("*.qrels")
    (run,) = out.glob("*reverse*.trec")
    # Reversed, the grades are 0, 2, 1, 0; trec_eval's gain is the grade.
    expected = (2 / log2(3) + 1 / log2(4)) / (2 / log2(2) + 1 / log2(3))
    assert mean(qrels, run) == pytest.approx(expected, abs=tolerance)
    ours = read_results(results)
    cell = next(cell for cell in ours.cells if cell.record.cell == run.stem)
    values = evaluate(cell.rankings, ours.pool(cell.record.pool).qrels, ["nDCG@10"])["nDCG@10"]
    assert fmean(values.values()) == pytest.approx(expected, abs=1e-15)


def test_an_exported_run_is_imported_again_under_its_label(results: Path, tmp_path: Path) -> None:
    export(results, "trec", tmp_path / "out")
    runs = labelled_runs([str(path) for path in sorted((tmp_path / "out").glob("*.trec"))], None)
    assert sorted(runs) == ["random (seed=1)", "random (seed=2)", "reverse"]
    cell = next(cell for cell in read_results(results).cells if cell.record.system.label == "random (seed=1)")
    assert read_run(runs["random (seed=1)"])["q1"] == list(cell.rankings["q1"])
    import_runs(tmp_path / "again", stored_pool(results, cell.record.pool), runs)
    labels = {
        imported_cell.record.system.label: imported_cell
        for imported_cell in read_results(tmp_path / "again").cells
    }
    assert set(labels) == {"first stage", *runs}
    assert labels["random (seed=1)"].rankings["q1"] == cell.rankings["q1"]


def test_a_label_is_read_beside_a_compressed_run_and_a_given_one_wins(results: Path, tmp_path: Path) -> None:
    export(results, "trec", tmp_path / "out")
    (run,) = (tmp_path / "out").glob("*reverse*.trec")
    packed = run.with_name(f"{run.name}.gz")
    packed.write_bytes(gzip.compress(run.read_bytes()))
    assert labelled_runs([str(packed)], None) == {"reverse": packed}
    assert labelled_runs([f"mine={packed}"], None) == {"mine": packed}
    moved = run.rename(tmp_path / "lonely.trec")
    assert labelled_runs([str(moved)], None) == {"lonely": moved}


@pytest.mark.parametrize("text", ["- a list", "rerankbench: 3", "rerankbench: {label: 3}", ""])
def test_metadata_without_a_label_name_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "theirs.metadata.yaml").write_text(text)
    run = tmp_path / "theirs.trec"
    run.touch()
    assert labelled_runs([str(run)], None) == {"theirs": run}


def test_metadata_that_cannot_be_read_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "theirs.metadata.yaml").write_text("a: b\nc: [")
    (tmp_path / "theirs.trec").touch()
    with pytest.raises(InputError, match=r"theirs.metadata.yaml:2: .*LABEL=theirs.trec"):
        labelled_runs([str(tmp_path / "theirs.trec")], None)


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
    export(results, "trec", tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*reverse*.trec")
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
    assert sorted(printed) == sorted(map(str, (tmp_path / "out").iterdir()))
    assert Counter(Path(line).suffix for line in printed) == {".trec": 3, ".yaml": 3, ".qrels": 1}


def test_unfinished_results_are_refused(results: Path, tmp_path: Path) -> None:
    for path in results.glob("*/record.json"):
        path.write_text(path.read_text().replace('"done"', '"running"'))
    assert main(["export", str(results), "--format", "trec", "--out", str(tmp_path / "out")]) == 2
