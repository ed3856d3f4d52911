"""One run file has one value, trec_eval's, whichever row of a table it becomes."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import pytest
import pytrec_eval

from benchmarks.cli.main import main
from benchmarks.evaluation.measures import Evaluator
from benchmarks.evaluation.ties import count_ties, trec_eval_order
from benchmarks.results.store import read_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = "q1 Q0 a 1 2 x\nq1 Q0 c 2 1 x\nq1 Q0 d 3 1 x\nq1 Q0 b 4 1 x\n"
"""Ranks say a c d b; trec_eval reads a d c b."""

GRADES = {"q1": {"c": 1}}


def reciprocal_ranks(results: Path) -> dict[str, float]:
    read = read_results(results)
    by_system = {}
    for cell in read.cells:
        values = Evaluator(read.pool(cell.record.pool).qrels, ["RR"]).evaluate(cell.rankings.orders())
        by_system[cell.record.system.label] = fmean(values["RR"].values())
    return by_system


def test_a_run_has_trec_evals_value_as_a_first_stage_and_as_an_imported_system(tmp_path: Path) -> None:
    scores = {"a": 2.0, "c": 1.0, "d": 1.0, "b": 1.0}
    theirs = pytrec_eval.RelevanceEvaluator(GRADES, {"recip_rank"}).evaluate({"q1": scores})
    assert theirs["q1"]["recip_rank"] == pytest.approx(1 / 3)  # a, d, then c
    for name in ("first.trec", "again.trec"):
        (tmp_path / name).write_text(RUN)
    (tmp_path / "qrels.txt").write_text("q1 0 c 1\n")
    arguments = ["--first-stage", str(tmp_path / "first.trec"), "--qrels", str(tmp_path / "qrels.txt")]
    assert main(["import-run", str(tmp_path / "again.trec"), *arguments, "--out", str(tmp_path / "out")]) == 0
    assert reciprocal_ranks(tmp_path / "out") == pytest.approx({"first stage": 1 / 3, "again": 1 / 3})


def test_a_run_as_the_first_stage_of_an_experiment_has_trec_evals_value(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment(queries=1, depth=4, rerankers=["first-stage"])
    lines = path.read_text().replace("first_stages: given", "first_stages: {kind: run, path: tied.trec}")
    path.write_text(lines)
    ids = ["q0-d0", "q0-d2", "q0-d3", "q0-d1"]
    (path.parent / "tied.trec").write_text(
        "".join(f"q0 Q0 {doc_id} {rank} 1 x\n" for rank, doc_id in enumerate(ids, 1))
    )
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 0
    (cell,) = read_results(tmp_path / "out").cells
    assert cell.rankings.orders()["q0"] == ["q0-d3", "q0-d2", "q0-d1", "q0-d0"]


def test_ties_are_counted_in_32_bits() -> None:
    hits = [("a", 20.0000001), ("b", 20.0), ("c", 3.0), ("d", 1.0), ("e", 1.0), ("f", 1.0)]
    assert count_ties(hits) == 2 + 3
    assert [doc_id for doc_id, _ in trec_eval_order(hits)] == ["b", "a", "c", "f", "e", "d"]
    assert count_ties([]) == 0
