"""First stages by name: registered ones and the user's own, validated first and frozen as all others."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.candidates.pool_folder import load_pool
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.first_stages.named import load
from benchmarks.first_stages.registry import FIRST_STAGES
from benchmarks.results.store import read_results
from reports.analysis.first_stages import describe
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STAGES = """
from benchmarks import FirstStage, Options


class OverlapOptions(Options):
    shortest: int = 1


class Overlap(FirstStage):
    options_model = OverlapOptions

    def __init__(self, documents, options):
        assert [*documents] == [*documents]
        self.shortest = options.shortest
        self.words = {doc_id: self.cut(text) for doc_id, text in documents}

    def cut(self, text):
        return {word for word in text.split() if len(word) >= self.shortest}

    def search(self, query, depth):
        scores = {doc_id: len(words & self.cut(query)) for doc_id, words in self.words.items()}
        return sorted(scores.items(), key=lambda hit: -hit[1])


class Fixed(FirstStage):
    hits = []

    def __init__(self, documents, options):
        pass

    def search(self, query, depth):
        return self.hits


class Twice(Fixed):
    hits = [("d1", 1.0), ("d1", 0.5)]


class Rising(Fixed):
    hits = [("d1", 1.0), ("d2", 2.0)]


class NotANumber(Fixed):
    hits = [("d1", float("nan"))]


class Unknown(Fixed):
    hits = [("d9", 1.0)]


class NoPairs(Fixed):
    hits = ["d1"]


class Fails(Fixed):
    def search(self, query, depth):
        raise OSError("no index\\nhere")


class Nothing(Fixed):
    pass


class Stranger:
    pass
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Write a collection of four passages, a module of first stages, and an experiment that names one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    texts = {"d1": "yeast makes dough rise", "d2": "salt melts ice", "d3": "dough needs yeast", "d4": "rain"}
    queries = {"q1": "why does dough rise", "q2": "what melts ice"}
    (tmp_path / "kitchen" / "qrels").mkdir(parents=True)
    for name, items in (("corpus", texts), ("queries", queries)):
        lines = [json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in items.items()]
        (tmp_path / "kitchen" / f"{name}.jsonl").write_text("".join(lines))
    grades = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n"
    (tmp_path / "kitchen" / "qrels" / "test.tsv").write_text(grades)
    (tmp_path / "stages.py").write_text(STAGES)
    monkeypatch.delitem(sys.modules, "stages", raising=False)

    def write_experiment(first_stages: Any) -> Path:
        content = {
            "name": "kitchen",
            "datasets": "./kitchen",
            "first_stages": first_stages,
            "depths": 3,
            "rerankers": ["first-stage", "reverse"],
        }
        (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / "experiment.yaml"

    return write_experiment


def test_a_class_of_ones_own_proposes_frozen_candidates_and_is_timed(
    write: Callable[[Any], Path], tmp_path: Path
) -> None:
    stage = {"name": "stages:Overlap", "options": {"shortest": 4}}
    experiment, config = load_experiment(write([stage, "stages:Nothing"]))
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    by_name = {cell.record.first_stage["name"]: cell for cell in read_results(tmp_path / "out").cells}
    pool = load_pool(tmp_path / "out" / "pools" / by_name["Overlap"].record.pool)
    proposed = {
        query_id: [(candidate.doc_id, candidate.score) for candidate in candidates]
        for query_id, candidates in pool.candidates.items()
    }
    assert proposed == {
        "q1": [("d1", 2.0), ("d3", 1.0), ("d2", 0.0)],
        "q2": [("d2", 1.0), ("d1", 0.0), ("d3", 0.0)],
    }
    assert set(pool.retrieve_seconds) == {"q1", "q2"}
    described = by_name["Overlap"].record.first_stage
    assert described["class"] == "stages:Overlap"
    assert len(described["module_sha256"]) == 64
    assert describe(described) == "Overlap (shortest 4)"
    assert describe(by_name["Nothing"].record.first_stage) == "Nothing"


def test_random_candidates_are_drawn_by_seed(write: Callable[[Any], Path], tmp_path: Path) -> None:
    seeds = [{"name": "random", "options": {"seed": seed}} for seed in range(8)]
    experiment, config = load_experiment(write(["random", {"kind": "hybrid", "parts": ["random", seeds[1]]}]))
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    from benchmarks.datasets.sources import open_dataset
    from benchmarks.first_stages.retrieval import retrieve

    dataset = open_dataset(experiment.entries[0][0])
    stages = load_experiment(write(seeds))[0].first_stages
    draws = [retrieve(stage, dataset, {"q1": "ice"}, 3).hits["q1"] for stage in stages]
    again = [retrieve(stage, dataset, {"q1": "ice"}, 3).hits["q1"] for stage in stages]
    assert draws == again
    assert len({tuple(doc_id for doc_id, _ in draw) for draw in draws}) > 1
    assert all(len({doc_id for doc_id, _ in draw}) == 3 for draw in draws)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("stages:Overlap2", "no class 'Overlap2'"),
        ("stages:Stranger", "no class 'Stranger'"),
        ("elsewhere:Overlap", "no module 'elsewhere'"),
        ({"name": "randm"}, "random"),
        ({"name": "stages:Overlap", "options": {"shortst": 3}}, "shortest"),
        ({"name": "stages:Overlap", "options": {"shortest": "long"}}, "'shortest' of stages:Overlap"),
        ({"name": "stages:Nothing", "options": {"shortest": 3}}, "shortest"),
        ({"kind": "hybrid", "parts": ["given", "stages:Stranger"]}, "no class 'Stranger'"),
    ],
)
def test_a_wrong_name_or_option_is_refused_before_anything_runs(
    write: Callable[[Any], Path], stage: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        load_experiment(write(stage))
    assert str(refused.value).count("\n") == 0
    assert "experiment.yaml:" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Twice", "'q1' has a passage twice"),
        ("Rising", "'q1': the score at rank 2"),
        ("NotANumber", "'q1' has a score that is not a number"),
        ("NoPairs", "not pairs"),
        ("Unknown", "d9"),
        ("Fails", "OSError: no index here"),
    ],
)
def test_wrong_results_fail_in_one_line(
    write: Callable[[Any], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    experiment, config = load_experiment(write(f"stages:{name}"))
    assert run(experiment, config, tmp_path / "out").exit_status != 0
    assert any(words in line for line in capsys.readouterr().err.splitlines())


def test_other_code_or_options_are_other_candidates(write: Callable[[Any], Path], tmp_path: Path) -> None:
    def key(first_stage: Any) -> str:
        return plan(load_experiment(write(first_stage))[0])[0].pool.key

    first = key("stages:Overlap")
    assert key({"name": "stages:Overlap"}) == first
    assert key({"name": "stages:Overlap", "options": {"shortest": 2}}) != first
    assert key("stages:Nothing") != first
    (tmp_path / "stages.py").write_text(STAGES + "# changed\n")
    assert key("stages:Overlap") != first


@pytest.mark.parametrize("name", FIRST_STAGES)
def test_every_registered_first_stage_is_one_and_says_what_its_options_mean(name: str) -> None:
    model = load(name).options_model
    assert load(name).__doc__
    assert all(field.description for field in model.model_fields.values())


def test_a_first_stage_is_added_by_one_file_and_one_row(
    write: Callable[[Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FIRST_STAGES, "overlap", "stages:Overlap")
    experiment, config = load_experiment(write(["overlap", {"name": "overlap", "options": {"shortest": 5}}]))
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    descriptions = {describe(cell.record.first_stage) for cell in read_results(tmp_path / "out").cells}
    assert descriptions == {"overlap (shortest 1)", "overlap (shortest 5)"}
