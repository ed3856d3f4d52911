"""`rerankbench init`: three answers make an experiment that validates and runs."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import benchmarks
from benchmarks.cli.main import main
from benchmarks.cli.starter import MACHINES, Answers, ask, write_starter
from benchmarks.experiments.config import load_experiment
from rerankers.errors import InputError
from rerankers.methods.composite.cascade import Step
from rerankers.methods.composite.components import Component
from rerankers.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

STARTERS: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(benchmarks.__path__[0]) / "cli" / "starters.toml").read_text(encoding="utf-8")
)
STARTS = [
    (name, machine, None)
    for name, machines in STARTERS.items()
    for machine in MACHINES
    if machine in machines or "any" in machines
] + [(name, "cpu", 5.0) for name, machines in STARTERS.items() if "endpoint" in machines]


def test_every_registered_reranker_has_a_start() -> None:
    assert STARTERS.keys() == METHODS.keys()


@pytest.mark.parametrize(("name", "machine", "budget"), STARTS)
def test_every_start_is_a_valid_experiment(
    name: str, machine: str, budget: float | None, tmp_path: Path
) -> None:
    write_starter(Answers("bundled", None, (name,), machine, budget), tmp_path / "start.yaml")
    experiment, _ = load_experiment(tmp_path / "start.yaml")
    assert experiment.rerankers[-1].name == name
    assert experiment.budget == budget
    assert {"parts": Component, "steps": Step}.keys() >= experiment.rerankers[-1].options.keys() & {
        "parts",
        "steps",
    }
    for part in experiment.rerankers[-1].options.get("parts", []):
        Component.model_validate(part)
    for step in experiment.rerankers[-1].options.get("steps", []):
        Step.model_validate(step)


def test_three_answers_write_an_experiment_that_runs(
    write_candidates: Callable[..., dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_candidates()
    monkeypatch.chdir(tmp_path)
    answers = iter(["hits.jsonl qrels.txt", "reverse, random", "cpu 5"])
    questions: list[str] = []

    def answer(question: str) -> str:
        questions.append(question)
        return next(answers)

    monkeypatch.setattr("builtins.input", answer)
    assert main(["init", "--out", "mine.yaml"]) == 0
    assert len(questions) == 3
    assert "mine.yaml written; next: rerankbench run mine.yaml --dry-run" in capsys.readouterr().out
    assert main(["run", "mine.yaml", "--dry-run"]) == 0
    assert "3 of 3 cells to run" in capsys.readouterr().out
    assert main(["run", "mine.yaml"]) == 0
    assert "3 of 3 cells done; results in runs/mine" in capsys.readouterr().out


def test_options_answer_the_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked"))
    arguments = ["--data", "bundled", "--rerankers", "embedding,pe-rank", "--machine", "offline"]
    assert main(["init", *arguments, "--out", str(tmp_path / "mine.yaml")]) == 0
    experiment, _ = load_experiment(tmp_path / "mine.yaml")
    assert [spec.name for spec in experiment.rerankers] == ["first-stage", "embedding", "pe-rank"]
    assert experiment.name == "mine"


def test_an_empty_answer_takes_what_the_brackets_say() -> None:
    answers = ask(None, None, None, None, answer=lambda _: "")
    assert answers == Answers("bundled", None, ("embedding", "cross-encoder"), "cpu", None)


def test_judgements_beside_the_candidates_are_found(
    write_candidates: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    write_candidates()
    answers = Answers(str(tmp_path / "hits.jsonl"), None, ("reverse",), "cpu", None)
    write_starter(answers, tmp_path / "mine.yaml")
    dataset = load_experiment(tmp_path / "mine.yaml")[0].entries[0][0]
    assert dataset.qrels == str(tmp_path / "qrels.txt")
    (tmp_path / "qrels.txt").unlink()
    write_starter(answers, tmp_path / "unjudged.yaml")
    assert load_experiment(tmp_path / "unjudged.yaml")[0].entries[0][0].qrels is None


def test_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    collection = tmp_path / "data" / "my collection"
    collection.mkdir(parents=True)
    answers = Answers("data/my collection", None, ("reverse",), "cpu", None)
    write_starter(answers, Path("experiments/mine.yaml"))
    assert "./../data/my collection" in Path("experiments/mine.yaml").read_text()
    folder = load_experiment(Path("experiments/mine.yaml"))[0].entries[0][0].folder
    assert folder is not None
    assert Path(folder).resolve() == collection


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "msmarco-pasage"}, "unknown dataset 'msmarco-pasage'"),
        ({"data": "./nowhere"}, "./nowhere: no such folder"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl: no such file"),
        ({"qrels": "qrels.txt"}, "judgements go with a candidates file"),
        ({"rerankers": ("perank",)}, "did you mean pe-rank"),
        ({"rerankers": ("cross-encoder",), "machine": "offline"}, "it starts on cpu, gpu, or leave it out"),
        ({"rerankers": ("rerank-api",)}, "no model is known to start rerank-api on cpu; give a budget"),
    ],
)
def test_an_answer_that_cannot_be_used_leaves_no_file(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    options = {"data": "bundled", "qrels": None, "rerankers": ("reverse",), "machine": "cpu", "budget": None}
    with pytest.raises(InputError, match=message):
        write_starter(Answers(**{**options, **changes}), tmp_path / "mine.yaml")
    assert not list(tmp_path.iterdir())


def test_a_file_into_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder; make it first"):
        write_starter(Answers("bundled", None, ("reverse",), "cpu", None), tmp_path / "nowhere" / "a.yaml")


@pytest.mark.parametrize(
    ("data", "installed", "kind"),
    [
        pytest.param("bundled", True, "bm25", marks=pytest.mark.lucene),
        pytest.param("msmarco-passage/trec-dl-2019/judged", True, "bm25", marks=pytest.mark.lucene),
        ("bundled", False, "dense"),
    ],
)
def test_the_first_stage_is_one_that_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, installed: bool, kind: str
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name: find_spec(name if name != "pyserini" or installed else "none"),
    )
    write_starter(Answers(data, None, ("reverse",), "offline", None), tmp_path / "mine.yaml")
    [stage] = load_experiment(tmp_path / "mine.yaml")[0].first_stages
    assert stage.kind == kind
    assert getattr(stage, "index", None) == ("msmarco-v1-passage" if "msmarco" in data else None)


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kept")
    with pytest.raises(InputError, match="is there already"):
        write_starter(Answers("bundled", None, ("reverse",), "cpu", None), tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "kept"


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        (["a b c"], "--data takes one name"),
        (["bundled", "reverse", "laptop"], "unknown machine 'laptop'"),
        (["bundled", "reverse", "cpu five"], "'five' is no number of dollars"),
        (["bundled", 'rev"erse'], "a quotation mark is not closed"),
        ([], "nobody answers the question about --data"),
    ],
)
def test_a_wrong_reply_says_what_to_write(replies: list[str], message: str) -> None:
    waiting = iter(replies)

    def answer(_: str) -> str:
        reply = next(waiting, None)
        if reply is None:
            raise EOFError
        return reply

    with pytest.raises(InputError, match=message):
        ask(None, ("reverse",) if replies == ["a b c"] else None, None, None, answer)
