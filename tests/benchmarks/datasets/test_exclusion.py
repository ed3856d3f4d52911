"""Passages that a dataset excludes leave the candidates before they are frozen, and are counted."""

from __future__ import annotations

import json
from math import log2
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.candidates.building import build_pool
from benchmarks.candidates.pool_folder import load_pool, save_pool
from benchmarks.cli.main import main
from benchmarks.datasets.exclusion import suspicions
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.evaluation.measures import evaluate
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.first_stages.specs import Given, Run
from benchmarks.results.exchange.imports import pool_of as import_pool
from benchmarks.results.store import read_results
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool

RULES = ("identical-id", "negative-grades", "FILE")


def write_hits(folder: Path, first: str, grade: int | None) -> Path:
    """Two queries, whose first candidate is to be excluded and whose second one is relevant."""
    lines, judged = [], []
    for query_id in ("q1", "q2"):
        doc_ids = [query_id if first == "the query" else f"{query_id}-bad", f"{query_id}-good", "other"]
        hits = [{"docid": d, "content": d, "score": 3 - rank} for rank, d in enumerate(doc_ids)]
        lines.append(json.dumps({"query": {"qid": query_id, "text": query_id}, "hits": hits}))
        judged.append(f"{query_id} 0 {doc_ids[1]} 1")
        judged += [] if grade is None else [f"{query_id} 0 {doc_ids[0]} {grade}"]
    (folder / "top.jsonl").write_text("\n".join(lines))
    (folder / "qrels.txt").write_text("\n".join(judged))
    (folder / "excluded.txt").write_text("q1 q1-bad\nq2 q2-bad\nq2 absent\n")
    return folder


def pool_of(folder: Path, depth: int, exclude: str | None) -> Pool:
    spec = DatasetSpec(candidates=str(folder / "top.jsonl"), qrels=str(folder / "qrels.txt"), exclude=exclude)
    return build_pool(spec, Given(), depth)


def doc_ids(pool: Pool) -> dict[str, list[str]]:
    return {query_id: [hit.doc_id for hit in hits] for query_id, hits in pool.candidates.items()}


def ndcg(pool: Pool) -> float:
    rankings = {q: [(hit.doc_id, hit.score) for hit in hits] for q, hits in pool.candidates.items()}
    return evaluate(rankings, pool.qrels, ["nDCG@10"])["nDCG@10"]["q1"]


@pytest.mark.parametrize("rule", RULES)
def test_excluded_passages_leave_the_candidates_and_the_depth_is_still_reached(
    rule: str, tmp_path: Path
) -> None:
    write_hits(
        tmp_path,
        "the query" if rule == "identical-id" else "another",
        -100 if rule == "negative-grades" else None,
    )
    assert ndcg(pool_of(tmp_path, 2, "none")) == pytest.approx(1 / log2(3))  # 0.63
    pool = pool_of(tmp_path, 2, str(tmp_path / "excluded.txt") if rule == "FILE" else rule)
    assert doc_ids(pool) == {"q1": ["q1-good", "other"], "q2": ["q2-good", "other"]}
    assert ndcg(pool) == 1.0
    counts = {"candidates": 2, "queries": 2, "relevant": 0}
    assert {**pool.first_stage["excluded"], "rule": None} == {**counts, "rule": None}
    saved = load_pool(save_pool(pool, tmp_path / "pools"))
    assert saved.first_stage == pool.first_stage


def test_a_run_is_read_deeper_by_what_leaves_it(tmp_path: Path) -> None:
    write_hits(tmp_path, "another", -100)
    run = [f"q1 Q0 {doc_id} 0 {9 - i} t" for i, doc_id in enumerate(["q1-bad", "q1-good", "other"])]
    (tmp_path / "run.trec").write_text("\n".join(run))
    spec = DatasetSpec(
        candidates=str(tmp_path / "top.jsonl"), qrels=str(tmp_path / "qrels.txt"), exclude="negative-grades"
    )
    pool = build_pool(spec, Run(kind="run", path=str(tmp_path / "run.trec")), 2)
    assert doc_ids(pool) == {"q1": ["q1-good", "other"], "q2": []}
    assert pool.first_stage["excluded"]["candidates"] == 1


def test_excluded_passages_that_are_judged_relevant_are_counted(tmp_path: Path) -> None:
    write_hits(tmp_path, "the query", 1)
    assert pool_of(tmp_path, 3, "identical-id").first_stage["excluded"]["relevant"] == 2


def test_signs_that_a_rule_is_missing_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_hits(tmp_path, "the query", -100)
    pool = pool_of(tmp_path, 3, None)
    assert "excluded" not in pool.first_stage
    error_output = capsys.readouterr().err
    assert "2 of 2 queries have a candidate with the query's own id" in error_output
    assert "2 candidates have a grade below -2" in error_output
    pool_of(tmp_path, 3, "none")
    assert "own id" not in capsys.readouterr().err


def test_single_coincidences_of_ids_and_spam_are_no_signs() -> None:
    candidates = [("1", ["1", "5"]), ("2", ["9"]), ("3", ["7"])]
    assert suspicions(candidates, {"1": {"5": -2, "1": -1}}) == []


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ({"id": "bright/biology"}, "negative-grades"),
        ({"id": "bright/leetcode-long"}, "negative-grades"),
        ({"id": "beir/arguana"}, "identical-id"),
        ({"id": "beir/quora/test"}, "identical-id"),
        ({"id": "nano-beir/quora"}, "identical-id"),
        ({"folder": "data/ArguAna"}, "identical-id"),
        ({"id": "beir/scifact/test"}, None),
        ({"folder": "data/scifact"}, None),
        ({"id": "beir/arguana", "exclude": "none"}, "none"),
        ({"id": "beir/scifact/test", "exclude": "identical-id"}, "identical-id"),
    ],
)
def test_datasets_known_for_it_have_a_rule_by_default(spec: dict[str, Any], rule: str | None) -> None:
    assert DatasetSpec.model_validate(spec).exclusion == rule


def test_a_rule_defines_the_candidates_and_no_rule_changes_no_earlier_ones() -> None:
    plain = DatasetSpec(id="beir/scifact/test", exclude="none").identity()
    assert plain == DatasetSpec(id="beir/scifact/test", name="SciFact").identity()
    assert plain.keys() == {"id", "folder", "split", "candidates", "qrels"}
    assert DatasetSpec(id="beir/arguana").identity()["exclude"] == "identical-id"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("q1 a\nq2\n", r"excluded\.txt:2: expected 2 columns \(query_id, doc_id\), found 1"),
        ("q9 a\n", r"excluded\.txt:1: query 'q9' is not in the dataset"),
        (None, r"is not a file here\. Write identical-id, negative-grades, none or the path"),
    ],
)
def test_a_wrong_file_of_exclusions_is_named(tmp_path: Path, content: str | None, says: str) -> None:
    write_hits(tmp_path, "another", None)
    (tmp_path / "excluded.txt").unlink()
    if content is not None:
        (tmp_path / "excluded.txt").write_text(content)
    spec = DatasetSpec(candidates=str(tmp_path / "top.jsonl"), exclude=str(tmp_path / "excluded.txt"))
    with pytest.raises(InputError, match=says):
        open_dataset(spec)


def test_candidates_and_judgements_of_two_collections_are_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_hits(tmp_path, "another", None)
    (tmp_path / "qrels.txt").write_text("q1 0 17 1\nq2 0 18 1\n")
    pool_of(tmp_path, 3, None)
    says = "Not one candidate is judged: candidates are 'q1-bad' and 'q1-good', judged passages '17' and '18'"
    assert says in capsys.readouterr().err


def test_the_record_of_a_cell_counts_what_was_excluded(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment(
        datasets={"candidates": "top.jsonl", "qrels": "qrels.txt", "exclude": "excluded.txt"}
    )
    write_hits(tmp_path, "another", -100)
    experiment, config = load_experiment(path)
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    counts = {"candidates": 2, "queries": 2, "relevant": 0}
    for cell in read_results(tmp_path / "out").cells:
        assert cell.record.first_stage["excluded"] == {"rule": "excluded.txt", **counts}
        assert cell.rankings.orders()["q1"][-1] != "q1-bad"


@pytest.mark.parametrize(
    ("first", "grade", "options", "rule"),
    [
        ("the query", None, ["--exclude", "identical-id"], "identical-id"),
        ("the query", None, ["--dataset", "beir/arguana"], "identical-id"),
        ("another", -100, ["--dataset", "bright/biology"], "negative-grades"),
    ],
)
def test_excluded_passages_leave_imported_runs_too(
    first: str, grade: int | None, options: list[str], rule: str, tmp_path: Path
) -> None:
    write_hits(tmp_path, first, grade)
    lines = [
        f"{q} Q0 {d} 0 {9 - rank} t"
        for q in ("q1", "q2")
        for rank, d in enumerate([q if first == "the query" else f"{q}-bad", f"{q}-good", "other"])
    ]
    (tmp_path / "first.trec").write_text("\n".join(lines))
    files = ["--first-stage", str(tmp_path / "first.trec"), "--qrels", str(tmp_path / "qrels.txt")]
    arguments = ["import-run", str(tmp_path / "first.trec"), *files, "--out", str(tmp_path / "out")]
    theirs = f"theirs={tmp_path / 'first.trec'}"
    assert main([arguments[0], theirs, *arguments[2:], *options]) == 0
    results = read_results(tmp_path / "out")
    for cell in results.cells:
        assert cell.rankings.orders() == {"q1": ["q1-good", "other"], "q2": ["q2-good", "other"]}
        assert cell.record.first_stage["excluded"]["rule"] == rule
        assert cell.record.first_stage["excluded"]["candidates"] == 2


def test_an_import_without_a_rule_mentions_that_it_may_need_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_hits(tmp_path, "another", -100)
    (tmp_path / "first.trec").write_text("q1 Q0 q1-bad 0 2 t\nq2 Q0 q2-good 0 2 t\n")
    pool = import_pool(tmp_path / "first.trec", tmp_path / "qrels.txt", "mine")
    assert "1 candidates have a grade below -2" in capsys.readouterr().err
    assert pool.first_stage["warnings"][0].endswith("otherwise to none.")
