"""Measures that are functions: the user's own, and the registered ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from benchmarks.cli.main import main
from benchmarks.evaluation.functions.registry import MEASURES
from benchmarks.evaluation.measures import Evaluator, evaluate, expand, try_measures
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import ir_measures


def first(doc_ids, grades):
    return grades.get(doc_ids[0], 0)


def fails(doc_ids, grades):
    raise KeyError("p1")


def fails_on_q1(doc_ids, grades):
    return 1 / len([doc_id for doc_id in grades if doc_id == "1"])


def not_a_number(doc_ids, grades):
    return float("nan")


def words(doc_ids, grades):
    return "high"


strict = ir_measures.AP(rel=2) @ 2
number = 7
"""
QRELS = {"q1": {"p1": 0, "p2": 2}, "q2": {"p1": 1}, "q3": {"p1": 1}}
RANKINGS = {"q1": ["p1", "p2"], "q2": ["p1", "p9"]}


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "ours.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "ours", raising=False)


def test_own_functions_and_objects_are_computed_beside_others_under_their_names() -> None:
    names = ["nDCG@10", "ours:first", "ours:strict", "AP(rel=2)@2"]
    assert [expanded for name in names for expanded in expand(name)] == names
    values = Evaluator(QRELS, names).evaluate(RANKINGS)
    assert [*values] == names
    assert values["ours:first"] == {"q1": 0.0, "q2": 1.0, "q3": 0.0}
    assert values["ours:strict"] == {"q1": 0.5, "q2": 0.0, "q3": 0.0} == values["AP(rel=2)@2"]
    assert values["nDCG@10"]["q2"] == 1.0


def test_the_order_of_a_run_is_trec_evals() -> None:
    run = {"q1": [("p1", 1.0), ("p2", 1.0)], "q2": [("p9", 1.0), ("p1", 2.0)]}
    assert evaluate(run, QRELS, ["ours:first"])["ours:first"] == {"q1": 2.0, "q2": 1.0, "q3": 0.0}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ours:fails", "KeyError: 'p1'"),
        ("ours:not_a_number", "nan is not a finite number"),
        ("ours:words", "'high' is not a finite number"),
        ("ours:number", "no function or ir_measures object 'number'"),
        ("ours:missing", "'missing'"),
        ("elsewhere:first", "no module 'elsewhere'"),
    ],
)
def test_a_wrong_measure_is_refused_when_it_is_named(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        expand(name)
    assert "\n" not in str(refused.value)


def test_a_measure_is_tried_on_the_judgements_of_a_dataset() -> None:
    with pytest.raises(InputError, match="'ours:fails_on_q1': query 'q1': ZeroDivisionError"):
        try_measures(["ours:fails_on_q1"], QRELS)


def test_the_q_measure_is_the_mean_blended_ratio() -> None:
    grades = {"q1": {"a": 3, "b": 1, "c": 0}}
    first = (1 + 1) / (1 + 3)  # b at rank 1: gain 1, ideal gain 3
    second = (2 + 4) / (3 + 4)  # a at rank 3: gain 4, ideal gain 3 + 1
    values = Evaluator(grades, ["Q"]).evaluate({"q1": ["b", "c", "a"]})
    assert values["Q"]["q1"] == pytest.approx((first + second) / 2)
    assert Evaluator(grades, ["Q"]).evaluate({"q1": ["a", "b"]})["Q"]["q1"] == 1.0
    assert Evaluator({"q1": {"c": 0}}, ["Q"]).evaluate({"q1": ["c"]})["Q"]["q1"] == 0.0


@pytest.mark.parametrize("name", MEASURES)
def test_a_registered_measure_hides_none_of_ir_measures(name: str) -> None:
    import ir_measures

    assert name not in ir_measures.measures.registry
    assert expand(name) == [name]


def test_results_say_which_module_is_missing_and_any_column_list_may_name_a_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = {
        "name": "mine",
        "datasets": "bundled",
        "first_stages": "random",
        "depths": 3,
        "limit": 2,
        "rerankers": ["reverse"],
        "measures": ["nDCG@10", "ours:first"],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(experiment))
    assert main(["run", "mine.yaml"]) == 0
    capsys.readouterr()
    layout = "ours:first,ours:strict,stage:retrieve"
    assert main(["table", "runs/mine", "--layout", layout, "--format", "csv"]) == 0
    assert "ours:first" in (printed := capsys.readouterr().out)
    assert "ours:strict" in printed
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    monkeypatch.delitem(sys.modules, "ours")
    assert main(["table", "../runs/mine"]) != 0
    assert "no module 'ours'" in capsys.readouterr().err


def test_a_measure_is_added_by_one_file_and_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(MEASURES, "first-grade", "ours:first")
    assert expand("first-grade") == ["first-grade"]
    assert Evaluator(QRELS, ["first-grade"]).evaluate(RANKINGS)["first-grade"]["q2"] == 1.0
    assert main(["list", "measures"]) == 0
    assert "first-grade" in capsys.readouterr().out
