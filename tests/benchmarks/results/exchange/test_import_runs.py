"""Others' runs stand beside ours, on the same candidates, with no made-up times."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from benchmarks.evaluation.measures import evaluate
from benchmarks.results.exchange.imports import label_of
from benchmarks.results.store import read_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIRST_STAGE = "q1 Q0 a 1 9 x\nq1 Q0 b 2 8 x\nq1 Q0 c 3 7 x\nq2 Q0 d 1 5 x\n"
THEIRS = "q1 Q0 c 1 0.9 y\nq1 Q0 a 2 0.5 y\nq1 Q0 b 3 0.5 y\nq2 Q0 d 1 1 y\n"
QRELS = "q1 0 c 2\nq1 0 b 1\nq2 0 d 1\nq3 0 e 1\n"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "bm25.trec").write_text(FIRST_STAGE + "q4 Q0 f 1 5 x\n")
    (tmp_path / "qrels.txt").write_text(QRELS)
    return [
        "--first-stage",
        str(tmp_path / "bm25.trec"),
        "--qrels",
        str(tmp_path / "qrels.txt"),
        "--out",
        str(tmp_path / "out"),
    ]


def test_an_imported_run_is_evaluated_over_all_judged_queries_and_has_no_times(
    files: list[str], tmp_path: Path
) -> None:
    with gzip.open(tmp_path / "theirs.trec.gz", "wt") as file:
        file.write(THEIRS)
    assert main(["import-run", str(tmp_path / "theirs.trec.gz"), *files, "--dataset", "small"]) == 0
    results = read_results(tmp_path / "out")
    first, theirs = results.cells
    assert (first.record.system.reranker, theirs.record.system.label) == ("first-stage", "theirs")
    assert theirs.rows == []
    pool = results.pool(theirs.record.pool)
    assert pool.unjudged == 1  # q4
    values = evaluate(theirs.rankings, pool.qrels, ["nDCG@10"])["nDCG@10"]
    assert values == {"q1": 1.0, "q2": 1.0, "q3": 0.0}


def test_ties_are_broken_as_trec_eval_does(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "theirs.trec").write_text(THEIRS)
    main(["import-run", f"Their system={tmp_path / 'theirs.trec'}", *files])
    theirs = read_results(tmp_path / "out").cells[1]
    assert theirs.record.system.label == "Their system"
    assert [doc_id for doc_id, _ in theirs.rankings["q1"]] == ["c", "b", "a"]  # not by rank


def test_a_run_that_leaves_candidates_out_says_so(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "theirs.trec").write_text("q1 Q0 c 1 0.9 y\n")
    main(["import-run", str(tmp_path / "theirs.trec"), *files])
    described = read_results(tmp_path / "out").cells[1].record.system.described
    assert described["notice"] == "the run leaves candidates unranked"


def test_two_runs_of_one_label_are_refused_before_anything_is_written(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "theirs.trec").write_text(THEIRS)
    paths = [str(tmp_path / folder / "theirs.trec") for folder in ("a", "b")]
    for runs in (
        paths,
        [f"X={paths[0]}", f"X={paths[1]}"],
        [f"first stage={paths[0]}"],
        [f"={paths[0]}"],
        [f"A b={paths[0]}", f"A-b={paths[0]}"],
    ):
        assert main(["import-run", *runs, *files]) == 2
        assert "label" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    assert main(["import-run", f"X={paths[0]}", f"Y={paths[1]}", *files]) == 0
    labels = [cell.record.system.label for cell in read_results(tmp_path / "out").cells]
    assert labels == ["first stage", "X", "Y"]


def test_a_label_of_an_earlier_import_is_not_given_to_another_run(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("one.trec", THEIRS), ("two.trec", THEIRS.replace("0.9", "0.1"))):
        (tmp_path / name).write_text(content)
    first, second = f"X={tmp_path / 'one.trec'}", f"X={tmp_path / 'two.trec'}"
    assert main(["import-run", first, *files]) == 0
    assert main(["import-run", first, *files]) == 0  # the same run again changes nothing
    assert main(["import-run", second, *files]) == 2
    assert "another run is imported as 'X'" in capsys.readouterr().err
    assert len(read_results(tmp_path / "out").cells) == 2


def test_a_path_that_exists_is_taken_whole_and_else_the_first_sign_ends_the_label(
    files: list[str], tmp_path: Path
) -> None:
    (tmp_path / "lr=2.trec").write_text(THEIRS)
    assert main(["import-run", str(tmp_path / "lr=2.trec"), f"X={tmp_path}/lr=2.trec", *files]) == 0
    cells = read_results(tmp_path / "out").cells
    assert [cell.record.system.label for cell in cells] == ["first stage", "lr=2", "X"]


@pytest.mark.parametrize("name", ["theirs.tsv", "theirs.json", "theirs.run", "theirs.res", "theirs.txt"])
def test_a_run_is_labelled_by_its_file_without_suffixes(name: str, tmp_path: Path) -> None:
    assert label_of(tmp_path / f"{name}.gz", None) == "theirs"
    assert label_of(tmp_path / f"bm25_{name}", tmp_path / "bm25.trec.gz") == "theirs"
    assert label_of(tmp_path / "model-v1.5", None) == "model-v1.5"


def test_foreign_queries_and_ties_are_counted_aloud_and_stand_under_the_table(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs.trec").write_text(THEIRS + "q9 Q0 a 1 0.9 y\nq10 Q0 a 1 0.9 y\n")
    assert main(["import-run", str(tmp_path / "theirs.trec"), *files]) == 0
    error_output = capsys.readouterr().err
    assert "theirs.trec: queries of the run left out, not in the dataset or not judged: 2" in error_output
    assert (
        "theirs.trec: passages that share a score, ordered by document id as in trec_eval: 2" in error_output
    )
    assert "bm25.trec: queries of the run left out, not in the dataset or not judged: 1" in error_output  # q4
    first, theirs = read_results(tmp_path / "out").cells
    assert "not judged: 2; passages that share a score" in theirs.record.system.described["notice"]
    assert first.record.first_stage["queries_left_out"] == 1


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("q1 Q0 elsewhere 1 0.9 y\n", "'elsewhere', which is not among the candidates"),
        ("other 0 a 1 0.9 y\n", "ranks none of the queries"),
        ("q1 Q0 a\n", "theirs.trec:1: expected 6 columns"),
    ],
)
def test_a_run_over_other_candidates_is_refused_and_nothing_written(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], run: str, message: str
) -> None:
    (tmp_path / "theirs.trec").write_text(run)
    assert main(["import-run", str(tmp_path / "theirs.trec"), *files]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_runs_join_our_own_results_on_their_pool_and_outlive_the_next_run(
    write_experiment: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    path = write_experiment(queries=1, depth=2, rerankers="reverse")
    main(["run", str(path), "--out", str(out)])
    (our_cell,) = read_results(out).cells
    (tmp_path / "theirs.trec").write_text("q0 Q0 q0-d1 1 2 y\nq0 Q0 q0-d0 2 1 y\n")
    arguments = ["import-run", str(tmp_path / "theirs.trec"), "--out", str(out)]
    assert main([*arguments, "--pool", our_cell.record.pool]) == 0
    main(["run", str(path), "--out", str(out), "--set", "rerankers=[reverse, first-stage]"])
    labels = [cell.record.system.label for cell in read_results(out).cells]
    assert labels == ["reverse", "first-stage", "first stage", "theirs"]
    assert main([*arguments, "--pool", "0000"]) == 2
    assert main(arguments) == 2
    assert "--first-stage RUN and --qrels FILE, or --pool DIGEST" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ranking.trec", "record.json"])
@pytest.mark.parametrize("how", ["cut", "deleted"])
def test_an_imported_cell_that_was_damaged_is_noticed_and_imported_again(
    files: list[str], tmp_path: Path, name: str, how: str
) -> None:
    (tmp_path / "theirs.trec").write_text(THEIRS)
    arguments = ["import-run", str(tmp_path / "theirs.trec"), *files]
    assert main(arguments) == 0
    before = [(cell.record, dict(cell.rankings)) for cell in read_results(tmp_path / "out").cells]
    damaged = tmp_path / "out" / before[1][0].cell / name
    damaged.write_bytes(damaged.read_bytes()[:-20])
    if how == "deleted":
        damaged.unlink()
    results = read_results(tmp_path / "out")
    assert len(results.damaged) == 1
    assert str(damaged) in results.damaged[0]
    assert main(arguments) == 0
    results = read_results(tmp_path / "out")
    assert [(cell.record, dict(cell.rankings)) for cell in results.cells] == before
    assert results.damaged == ()


def test_measures_are_named_and_presets_spelled_out(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "theirs.trec").write_text(THEIRS)
    words = ["import-run", str(tmp_path / "theirs.trec"), *files]
    assert main([*words, "--measures", "ndcg_cut_5", "AP(rel=2)"]) == 0
    for cell in read_results(tmp_path / "out").cells:
        assert cell.record.measures == ("nDCG@5", "AP(rel=2)")
    assert main([*words, "--measures", "trec-dl"]) == 0
    assert "AP(rel=2)" in read_results(tmp_path / "out").cells[1].record.measures


def test_an_unknown_measure_is_refused_before_anything_is_written(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs.trec").write_text(THEIRS)
    assert main(["import-run", str(tmp_path / "theirs.trec"), *files, "--measures", "nDGC@10"]) == 2
    assert "nDCG" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_candidates_of_the_same_queries_hint_at_the_folders_own(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs.trec").write_text(THEIRS)
    main(["import-run", str(tmp_path / "theirs.trec"), *files])
    [digest] = [path.name for path in (tmp_path / "out" / "pools").iterdir()]
    assert "--pool" not in capsys.readouterr().err
    (tmp_path / "dense.trec").write_text(FIRST_STAGE.replace("9 x", "8.5 x"))
    (tmp_path / "second.trec").write_text(THEIRS)
    files[1] = str(tmp_path / "dense.trec")
    assert main(["import-run", str(tmp_path / "second.trec"), *files]) == 0
    assert f"--pool {digest}" in capsys.readouterr().err
