"""Runs that others published, imported and evaluated here, give the figures that were published with them.

The runs are not part of this project. `RERANKBENCH_PUBLISHED_RUNS` names a folder with one folder a dataset
(`dl19`, `trec-covid`, `touche`), each with `bm25.trec.gz`, `bm25_<model>.trec.gz` and `qrels.txt`:

    RERANKBENCH_PUBLISHED_RUNS=FOLDER pytest tests/benchmarks/results/test_published_runs.py
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from benchmarks.cli.main import main
from benchmarks.evaluation.measures import Evaluator
from benchmarks.results.store import read_results

FOLDER = Path(os.environ.get("RERANKBENCH_PUBLISHED_RUNS") or "missing")
FIGURES = Path(__file__).parents[3] / "reports" / "published" / "runs.yaml"
DATASETS = {"dl19": "dl19", "trec-covid": "covid", "touche": "touche"}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="RERANKBENCH_PUBLISHED_RUNS names no folder of runs")
@pytest.mark.parametrize("dataset", DATASETS)
def test_published_runs_give_their_published_figures_to_four_decimals(dataset: str, tmp_path: Path) -> None:
    runs = sorted(str(path) for path in (FOLDER / dataset).glob("bm25_*.trec.gz"))
    arguments = ["--first-stage", str(FOLDER / dataset / "bm25.trec.gz"), "--dataset", dataset]
    judged = ["--qrels", str(FOLDER / dataset / "qrels.txt"), "--out", str(tmp_path / "out")]
    assert main(["import-run", *runs, *arguments, *judged]) == 0
    results = read_results(tmp_path / "out")
    qrels = results.pool(results.cells[0].record.pool).qrels
    evaluator = Evaluator(qrels, ["nDCG@10"])
    means = {
        cell.record.system.label: fmean(evaluator.evaluate(cell.rankings.orders())["nDCG@10"].values())
        for cell in results.cells
    }
    published = yaml.safe_load(FIGURES.read_text(encoding="utf-8"))["rows"]
    expected = {row["model"].rpartition("/")[2]: row["nDCG@10"][DATASETS[dataset]] for row in published}
    assert len(means) == 5
    for label, value in means.items():
        model = "BM25" if label == "first stage" else label
        assert round(value, 4) == pytest.approx(expected[model], abs=1e-9), model
