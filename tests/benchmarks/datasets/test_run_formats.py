"""Runs and judgements of other programs: MS MARCO's and ColBERT's columns, ranx's JSON."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from benchmarks.datasets.readers import read_qrels, read_run
from benchmarks.results.store import read_results
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(folder: Path, content: str) -> Path:
    path = folder / "file"
    path.write_text(content)
    return path


def test_three_columns_of_ms_marco_are_ordered_by_rank(tmp_path: Path) -> None:
    run = read_run(write(tmp_path, "7\t12\t2\n7\t11\t1\n8\t11\t1\n"))
    assert run == {"7": [("11", -1.0), ("12", -2.0)], "8": [("11", -1.0)]}


def test_four_columns_of_colbert_are_ordered_by_score(tmp_path: Path) -> None:
    run = read_run(write(tmp_path, "7\t12\t2\t20.5\n7\t11\t1\t21.5\n7\t13\t3\t20.5\n"))
    assert run == {"7": [("11", 21.5), ("13", 20.5), ("12", 20.5)]}  # the tie as in trec_eval


@pytest.mark.parametrize("indent", [None, 1])
def test_ranx_json_is_read_as_a_run_and_as_judgements(indent: int | None, tmp_path: Path) -> None:
    run = {"q1": {"d1": 0.5, "d2": 7}, "q2": {"d1": 1e-3}}
    assert read_run(write(tmp_path, json.dumps(run, indent=indent))) == {
        "q1": [("d2", 7.0), ("d1", 0.5)],
        "q2": [("d1", 0.001)],
    }
    qrels = {"q1": {"d1": 0, "d2": 2}, "q2": {"d1": 1}}
    assert read_qrels(write(tmp_path, json.dumps(qrels, indent=indent))) == qrels


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (
            read_run,
            "7 11 1\n7 12 1\n",
            ":2: query '7' has the rank 1 a second time; is this a file of judgem",
        ),
        (read_run, "7 11 1\n7 12 2 0.5\n", ":2: expected 3 columns .query_id doc_id rank., found 4"),
        (read_run, "7 11 1 0.5\n7 12 x 0.5\n", ":2: the rank 'x' is not a whole number"),
        (read_run, "7 11 1 0.5\n7 12 2 x\n", ":2: the score 'x' is not a finite number"),
        (read_run, "7 Q0 d\n", ":1: expected 6 columns"),
        (read_run, '{"q": {"d": "high"}}', "the score 'high' is not a finite number"),
        (read_run, '{"q": {"d": true}}', "the score 'true' is not a finite number"),
        (read_run, '{"q": {"d": NaN}}', "NaN is not JSON"),
        (read_run, '{"q": {"d": 1},\n "q": {"e": 1}}', "the id 'q' appears a second time"),
        (read_run, '{"q": {"d": 1, "d": 2}}', "the id 'd' appears a second time"),
        (read_run, '{"q": {"d 1": 1}}', "the id 'd 1' is empty or has white space"),
        (read_qrels, '{"q": {"d": 0.5}}', "the grade '0.5' is not a whole number"),
        (read_qrels, '{"q": {"d": 1},\n"r": 1}', "query 'r' has int in place of an object"),
        (read_qrels, '{"q": {"d": 1}', "broken JSON"),
    ],
)
def test_what_cannot_be_read_is_named(
    reader: Callable[[Path], object], content: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        reader(write(tmp_path, content))


@pytest.mark.filterwarnings("default")
def test_a_run_that_pyterrier_writes_is_a_first_stage(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    pt = pytest.importorskip("pyterrier", reason="PyTerrier is not installed")
    pandas = pytest.importorskip("pandas")
    rows = [("q0", "q0-d2", 0, 7.5), ("q0", "q0-d1", 1, 7.25), ("q1", "q1-d0", 0, 3.0)]
    ranked = pandas.DataFrame(rows, columns=["qid", "docno", "rank", "score"])
    pt.io.write_results(ranked, str(tmp_path / "bm25.res"))
    texts = [f'{{"_id": "q{q}-d{p}", "text": "passage {p} of {q}"}}\n' for q in range(3) for p in range(4)]
    write_experiment()
    collection = tmp_path / "collection"
    (collection / "qrels").mkdir(parents=True)
    (collection / "corpus.jsonl").write_text("".join(texts))
    queries = "".join(f'{{"_id": "q{q}", "text": "query {q}"}}\n' for q in range(3))
    (collection / "queries.jsonl").write_text(queries)
    shutil.copy(tmp_path / "qrels.txt", collection / "qrels" / "test.tsv")
    first_stage = {"kind": "run", "path": str(tmp_path / "bm25.res"), "name": "Terrier"}
    path = write_experiment(datasets=str(collection), first_stages=first_stage, rerankers="first-stage")
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 0
    (cell,) = read_results(tmp_path / "out").cells
    assert cell.record.first_stage["name"] == "Terrier"
    assert cell.rankings.orders() == {"q0": ["q0-d2", "q0-d1"], "q1": ["q1-d0"], "q2": []}
