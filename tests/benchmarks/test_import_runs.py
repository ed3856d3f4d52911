"""Others' runs stand beside ours, on the same candidates, with no made-up times."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli import main
from benchmarks.measures import evaluate
from benchmarks.store import read_results

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
    (own,) = read_results(out).cells
    (tmp_path / "theirs.trec").write_text("q0 Q0 q0-d1 1 2 y\nq0 Q0 q0-d0 2 1 y\n")
    arguments = ["import-run", str(tmp_path / "theirs.trec"), "--out", str(out)]
    assert main([*arguments, "--pool", own.record.pool]) == 0
    main(["run", str(path), "--out", str(out), "--set", "rerankers=[reverse, first-stage]"])
    labels = [cell.record.system.label for cell in read_results(out).cells]
    assert labels == ["reverse", "first-stage", "first stage", "theirs"]
    assert main([*arguments, "--pool", "0000"]) == 2
    assert main(arguments) == 2
    assert "--first-stage RUN and --qrels FILE, or --pool DIGEST" in capsys.readouterr().err
