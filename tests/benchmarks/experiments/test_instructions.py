"""A dataset's instruction reaches the rerankers that read one, and is recorded with their results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.executors.local import run
from benchmarks.experiments.config import Experiment, load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.results.store import read_results
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

PASSAGES = {f"d{i}": f"the ferry {i} carries {'nets ' * i}" for i in range(5)}
HEAD = {"name": "told", "first_stages": "given", "depths": 5, "protocol": {"warmup": 0}}


@pytest.fixture
def experiment(tmp_path: Path, golden: Path) -> dict[str, Any]:
    hits = [{"docid": d, "content": text, "score": 9 - i} for i, (d, text) in enumerate(PASSAGES.items())]
    row = {"query": {"qid": "q", "text": "who guides ships"}, "hits": hits}
    (tmp_path / "top.jsonl").write_text(json.dumps(row))
    (tmp_path / "qrels.txt").write_text("q 0 d1 1")
    dataset = {"candidates": str(tmp_path / "top.jsonl"), "qrels": str(tmp_path / "qrels.txt")}
    options = {"model": str(golden / "qwen3_reranker"), "prompt": "qwen3"}
    return {
        **HEAD,
        "datasets": [dataset],
        "rerankers": [
            {"name": "causal-yes-no", "label": "default", "options": options},
            {
                "name": "causal-yes-no",
                "label": "own",
                "options": {**options, "instruction": "Find the longest passage."},
            },
            "first-stage",
        ],
    }


def results_of(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Order of the passages and what is described, by label."""
    outcome = run(Experiment.model_validate(content), content, folder)
    assert outcome.failures == {}
    cells = read_results(folder).cells
    return {cell.record.system.label: cell for cell in cells}


def instructed_file(content: dict[str, Any], instruction: str) -> dict[str, Any]:
    return {**content, "datasets": [{**content["datasets"][0], "instruction": instruction}]}


def test_it_is_read_recorded_and_ranks_as_the_option_does(experiment: dict[str, Any], tmp_path: Path) -> None:
    plain = results_of(experiment, tmp_path / "plain")
    instructed = results_of(instructed_file(experiment, "Find the longest passage."), tmp_path / "told")
    assert (
        dict(instructed["default"].rankings)
        == dict(instructed["own"].rankings)
        == dict(plain["own"].rankings)
    )
    assert dict(instructed["default"].rankings) != dict(plain["default"].rankings)
    described = {label: cell.record.system.described for label, cell in instructed.items()}
    assert described["default"]["dataset_instruction"] == "Find the longest passage."
    assert described["own"]["instruction"] == "Find the longest passage."
    assert "dataset_instruction" not in described["own"]
    assert "dataset_instruction" not in described["first-stage"]


def test_only_cells_that_read_it_depend_on_it(experiment: dict[str, Any]) -> None:
    def cells(content: dict[str, Any]) -> dict[str, str]:
        return {cell.label: cell.name for cell in plan(Experiment.model_validate(content))}

    plain, first, other = (
        cells(experiment),
        cells(instructed_file(experiment, "a")),
        cells(instructed_file(experiment, "b")),
    )
    assert len({plain["default"], first["default"], other["default"]}) == 3
    assert plain["own"] == first["own"] == other["own"]
    assert plain["first-stage"] == first["first-stage"]


def test_an_instruction_that_no_reranker_reads_is_said(
    experiment: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {**instructed_file(experiment, "a"), "rerankers": ["first-stage"]}
    results_of(content, tmp_path / "out")
    assert "no reranker of this experiment reads the dataset's instruction" in capsys.readouterr().err


def test_two_instructions_for_the_same_data_are_refused(experiment: dict[str, Any], tmp_path: Path) -> None:
    [dataset] = experiment["datasets"]
    both = [{**dataset, "instruction": "a"}, {**dataset, "instruction": "b", "name": "other"}]
    (tmp_path / "told.json").write_text(json.dumps({**experiment, "datasets": both}))
    with pytest.raises(InputError, match="same data with different instructions"):
        load_experiment(tmp_path / "told.json")
