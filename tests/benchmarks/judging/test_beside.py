"""Several judgement files of one dataset: systems are measured by each, and nothing is run again."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import ir_measures
import pytest

from benchmarks.cli.main import main
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.evaluation.agreement import cohens_kappa
from benchmarks.experiments.config import load_experiment
from reports.tables.by_name import table

if TYPE_CHECKING:
    from pathlib import Path

NIST = {"q1": {"d1": 3, "d2": 0, "d5": 1}, "q2": {"d1": 0, "d5": 2}}
UMBRELA = {
    "q1": {"d0": 2, "d1": 3, "d2": 1, "d5": 1},
    "q2": {"d0": 0, "d1": 2, "d3": 3, "d5": 2},
    "not asked": {"d0": 3},
}


def write_qrels(path: Path, grades: dict[str, dict[str, int]]) -> None:
    lines = [f"{q.replace(' ', '-')} 0 {d} {grade}\n" for q, of in grades.items() for d, grade in of.items()]
    path.write_text("".join(lines))


@pytest.fixture
def experiment(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an experiment on six candidates d0 to d5 of two queries, with two judgement files."""
    write_qrels(tmp_path / "nist.txt", NIST)
    write_qrels(tmp_path / "umbrela.txt", UMBRELA)
    content = json.loads((measured / "holes.yaml").read_text())
    content["datasets"] = {
        "candidates": str(measured / "candidates.jsonl"),
        "judgements": {"nist": "nist.txt", "umbrela": "umbrela.txt"},
    }
    path = tmp_path / "two.yaml"
    path.write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    return path


def rows(folder: Path, layout: str) -> dict[str, dict[str, str]]:
    return {row["system"]: row for row in csv.DictReader(io.StringIO(table([folder], "csv", layout)))}


def by_ir_measures(grades: dict[str, dict[str, int]], folder: Path, reranker: str) -> float:
    [run] = [
        path.parent / "ranking.trec"
        for path in folder.glob("*/record.json")
        if json.loads(path.read_text())["system"]["reranker"] == reranker
    ]
    qrels = {query_id: grades[query_id] for query_id in ("q1", "q2")}
    ranked: dict[str, dict[str, float]] = {}
    for line in run.read_text().splitlines():
        query_id, _, doc_id, _, score, _ = line.split()
        ranked.setdefault(query_id, {})[doc_id] = float(score)
    return float(ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, ranked)[ir_measures.nDCG @ 10])


def test_systems_are_measured_by_each_judgement_file(experiment: Path) -> None:
    assert main(["run", str(experiment), "--out", "results"]) == 0
    results = experiment.parent / "results"
    table_rows = rows(results, "judgements")
    for label, reranker in (("given", "first-stage"), ("reverse", "reverse")):
        assert float(table_rows[label]["own:nDCG@10"]) == pytest.approx(
            by_ir_measures(NIST, results, reranker)
        )
        expected = by_ir_measures(UMBRELA, results, reranker)
        assert float(table_rows[label]["by-umbrela:nDCG@10"]) == pytest.approx(expected)
    assert float(rows(results, "headline")["given"]["nDCG@10"]) == pytest.approx(
        by_ir_measures(NIST, results, "first-stage")
    )
    # Both judge d1, d2 and d5 of q1, d1 and d5 of q2.
    agreed = rows(results, "agreement")
    kappa = cohens_kappa([(3, 3), (0, 1), (1, 1), (0, 2), (2, 2)])
    assert agreed["grade 0 by nist"]["passages"] == "5"
    assert float(agreed["grade 0 by nist"]["kappa"]) == pytest.approx(kappa, abs=1e-4)
    recorded = json.loads((results / "experiment.json").read_text())["inputs"]
    assert {"nist.txt", "umbrela.txt"} <= set(recorded)
    assert main(["report", "results"]) == 0
    page = (results / "report.html").read_text()
    assert "Judgements umbrela" in page
    assert "By the judgements umbrela," in page


def test_a_file_that_is_added_or_taken_out_later_runs_nothing_again(experiment: Path) -> None:
    text = experiment.read_text()
    experiment.write_text(text.replace(', "umbrela": "umbrela.txt"', ""))
    assert main(["run", str(experiment), "--out", "results"]) == 0
    before = {path: path.read_bytes() for path in experiment.parent.glob("results/*/record.json")}
    experiment.write_text(text)
    assert main(["run", str(experiment), "--out", "results"]) == 0
    assert {path: path.read_bytes() for path in experiment.parent.glob("results/*/record.json")} == before
    assert "by-umbrela:nDCG@10" in rows(experiment.parent / "results", "judgements")["reverse"]
    experiment.write_text(text.replace(', "umbrela": "umbrela.txt"', ""))
    assert main(["run", str(experiment), "--out", "results"]) == 0
    assert main(["table", "results", "--layout", "judgements"]) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "umbrela.txt: cannot be read"),
        ("q1 0 d1 3\nq1 0 d2 good\n", "umbrela.txt:2: the grade 'good'"),
        ("q9 0 d1 3\n", "umbrela.txt: judges none of the dataset's 2"),
    ],
)
def test_a_bad_second_file_is_refused_before_anything_is_measured(
    experiment: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    second = experiment.parent / "umbrela.txt"
    second.write_text(content) if content else second.unlink()
    assert main(["run", str(experiment), "--out", "results"]) == 2
    assert message in capsys.readouterr().err
    assert not [*experiment.parent.glob("results/*/record.json")]


def test_paths_start_from_the_experiment_file(
    experiment: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    loaded, _ = load_experiment(experiment)
    [(dataset, _)] = loaded.entries
    assert dataset.judgements == {
        name: str(experiment.parent / f"{name}.txt") for name in ("nist", "umbrela")
    }


def test_a_datasets_own_judgements_stand_in_either_place(experiment: Path) -> None:
    qrels = open_dataset("bundled").qrels
    write_qrels(experiment.parent / "mine.txt", dict([*qrels.items()][:3]))
    spec = DatasetSpec(id="bundled", judgements={"people": "own", "model": "mine.txt"})
    assert open_dataset(spec).qrels == qrels
    turned = DatasetSpec(id="bundled", judgements={"model": "mine.txt", "people": "own"})
    assert open_dataset(turned).qrels == dict([*qrels.items()][:3])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": "bundled", "judgements": {"a": "x", "b": "x"}}, "twice"),
        ({"candidates": "c.jsonl", "judgements": {"a": "own"}}, "own goes with an id or a folder"),
        ({"candidates": "c.jsonl", "qrels": "q", "judgements": {"a": "x"}}, "both given"),
        ({"id": "bundled", "judgements": {"../a": "x"}}, "pattern"),
    ],
)
def test_judgements_that_cannot_be_meant_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatasetSpec.model_validate(values)
