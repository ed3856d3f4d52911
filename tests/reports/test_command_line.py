"""From the command line to what stands on the page and in the table."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from benchmarks.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.reports.conftest import Folder

DATASETS = ("dl19", "trec-covid", "touche")
RELEVANT = 40  # where the first stage puts the only relevant passage, as a 0-based rank


def test_the_chosen_baseline_is_what_the_page_and_the_tables_test_against(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {f"q{i}": ["x", "y", "z"] for i in range(8)}
    pool = folder.pool(texts, {query_id: {"d2": 1} for query_id in texts})
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "Ours", folder.turned)
    page = folder.path / "page.html"
    assert main(["report", str(folder.path), "--out", str(page), "--baseline", "Ours"]) == 0
    assert "significantly above or below Ours" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["table", str(folder.path), "--format", "csv", "--baseline", "Ours"]) == 0
    rows = {row["system"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["Ours"]["nDCG@10_p"] == ""
    assert float(rows["First stage"]["nDCG@10_p"]) < 0.05
    assert main(["table", str(folder.path), "--format", "csv", "--baseline", "Our"]) != 0
    assert "did you mean Ours" in capsys.readouterr().err


def published_runs(folder: Path) -> Path:
    """Return runs of three datasets in one folder each, as others publish them: a reranker,
    and what it reranked.
    """
    for dataset in DATASETS:
        (folder / dataset).mkdir(parents=True)
        first, better, qrels = [], [], []
        for query_id in ("1", "2", "3"):
            docs = [f"{query_id}-{rank}" for rank in range(100)]
            ranking = [docs[RELEVANT], *docs[:RELEVANT], *docs[RELEVANT + 1 :]]
            first += [f"{query_id} Q0 {doc} {n + 1} {100 - n} bm25\n" for n, doc in enumerate(docs)]
            better += [f"{query_id} Q0 {doc} {n + 1} {100 - n} theirs\n" for n, doc in enumerate(ranking)]
            qrels.append(f"{query_id} 0 {docs[RELEVANT]} 1\n")
        (folder / dataset / "bm25.trec").write_text("".join(first))
        (folder / dataset / "bm25_bge-reranker-large.trec").write_text("".join(better))
        (folder / dataset / "qrels.txt").write_text("".join(qrels))
    return folder


def test_published_runs_of_three_datasets_become_one_page_and_the_tables_of_a_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, runs = str(tmp_path / "results"), published_runs(tmp_path / "runs")
    for dataset in DATASETS:
        run_folder = runs / dataset
        files = ["--first-stage", str(run_folder / "bm25.trec"), "--qrels", str(run_folder / "qrels.txt")]
        run = str(run_folder / "bm25_bge-reranker-large.trec")
        assert main(["import-run", run, *files, "--dataset", dataset, "--out", out]) == 0
    assert main(["report", out]) == 0
    page = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert page.count('<section class="group"') == len(DATASETS)
    assert page.count("<h2>Quality against depth</h2>") == len(DATASETS)
    assert "Quality against latency" not in page  # nobody measured any
    assert "for listwise methods they are estimates" in page
    assert "touche, BM25 top 100 · 3 queries · no latencies" in page

    def table(layout: str) -> list[dict[str, str]]:
        capsys.readouterr()
        assert main(["table", out, "--format", "csv", "--layout", layout]) == 0
        return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    rows = {row["system"]: row for row in table("datasets")}
    theirs = rows["bge-reranker-large"]
    assert [float(theirs[column]) for column in (*DATASETS, "average")] == [1.0] * 4
    assert float(rows["BM25"]["average"]) == 0.0
    reproduced = [row for row in table("reproduction") if row["system"] == "bge-reranker-large"]
    assert [row["dataset"] for row in reproduced] == [*DATASETS]
    assert [(float(row["published"]), float(row["ours"]), row["inside"]) for row in reproduced] == [
        (0.7311, 1.0, "no"),
        (0.7432, 1.0, "no"),
        (0.3566, 1.0, "no"),
    ]
