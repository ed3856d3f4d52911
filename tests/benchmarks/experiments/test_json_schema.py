"""Editors check experiment files by a schema that agrees with the program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from benchmarks.cli.main import main
from benchmarks.experiments.config import READY
from benchmarks.experiments.json_schema import experiment_schema
from rerankers.option_docs import describe_options
from rerankers.registry import METHODS

if TYPE_CHECKING:
    from pathlib import Path

BASE: dict[str, Any] = {"name": "a", "datasets": "bundled", "first_stages": "bm25"}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = experiment_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted(READY.glob("*.yaml")), ids=lambda path: path.stem)
def test_ready_experiments_fit_the_schema_that_they_name(path: Path, validator: Draft202012Validator) -> None:
    text = path.read_text(encoding="utf-8")
    assert "# yaml-language-server: $schema=experiment.schema.json" in text.splitlines()
    validator.validate(yaml.safe_load(text))


def test_the_schema_beside_the_ready_experiments_is_the_program_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    path = READY / "experiment.schema.json"
    assert capsys.readouterr().out == path.read_text(encoding="utf-8"), f"run: rerankbench schema > {path}"


@pytest.mark.parametrize(
    "rerankers",
    [
        "first-stage",
        ["first-stage", {"name": "random", "options": {"seed": [1, 2, 3]}}],
        [{"name": "mine:Mine", "options": {"anything": 1}}],
        [
            {
                "name": "embedding",
                "label": "{max_length}",
                "options": {"model": "a/b", "max_length": [64, 512]},
            }
        ],
    ],
)
def test_short_forms_sweeps_and_classes_of_one_s_own_are_accepted(
    rerankers: object, validator: Draft202012Validator
) -> None:
    validator.validate({**BASE, "rerankers": rerankers})


@pytest.mark.parametrize(
    "wrong",
    [
        {"rerankers": "first-stages"},
        {"rerankers": [{"name": "random", "options": {"seeds": 1}}]},
        {"rerankers": [{"name": "random", "options": {"seed": "many"}}]},
        {"rerankers": [{"name": "embedding"}]},
        {"rerankers": "random", "depth": 20},
        {"rerankers": "random", "depths": 0},
    ],
)
def test_what_the_program_refuses_is_marked(wrong: dict[str, Any], validator: Draft202012Validator) -> None:
    assert not validator.is_valid({**BASE, **wrong})


def test_every_key_has_a_meaning() -> None:
    for name in METHODS:
        assert not [option.name for option in describe_options(name) if not option.meaning], name
    assert all("description" in value for value in experiment_schema()["properties"].values())


def test_a_reranker_s_options_are_listed_with_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "rerankers", "pe-rank"]) == 0
    output = capsys.readouterr().out
    assert "window: 20" in output
    assert "A PE-Rank checkpoint" in output


def test_only_rerankers_are_listed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "datasets", "pe-rank"]) == 2
    assert "takes no name" in capsys.readouterr().err
    assert main(["list", "rerankers", "perank"]) == 2
    assert "pe-rank" in capsys.readouterr().err


def test_the_schema_is_json_that_every_reader_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == experiment_schema()


@pytest.mark.parametrize(
    "first_stages",
    [
        "my_stage:Title",
        ["random", {"name": "my_stage:Title", "options": {"shortest": 3}}],
        {"kind": "hybrid", "parts": ["given", {"name": "random"}]},
    ],
)
def test_named_first_stages_fit_the_schema(first_stages: object, validator: Draft202012Validator) -> None:
    validator.validate({**BASE, "rerankers": "reverse", "first_stages": first_stages})
