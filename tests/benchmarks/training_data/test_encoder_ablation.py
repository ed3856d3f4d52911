"""The encoder ablation, whole: one recipe trained with two encoders, benchmarked side by side, and tested."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.training_data.distillation_settings import Distillation
from benchmarks.training_data.files import READY, read_settings
from benchmarks.training_data.pe_rank import load_settings, train
from reports.tables.by_name import table
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT = {"prefix": "Query: {query}\n", "passage": "<PLACEHOLDER>", "suffix": "\nRanking:", "chat": False}


@pytest.fixture
def recipe(tmp_path: Path, golden: Path, tiny_llm: str, tiny_encoder: str) -> Path:
    """Two steps of training on two encoders: the tiny Jina model, mean, and the tiny BERT, first token."""
    rows: list[dict[str, Any]] = [
        {
            "query": f"query {n}",
            "passages": [f"passage {p} of {n}" for p in range(4)],
            "ranking": [2, 0, 3, 1],
        }
        for n in range(4)
    ]
    (tmp_path / "lists.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    encoders = [
        {"model": str(golden / "jina_bert"), "pooling": "mean"},
        {"model": tiny_encoder, "pooling": "cls"},
    ]
    content = {
        "llm": {"model": tiny_llm, "dtype": "float32"},
        "encoder": encoders,
        "data": {"train": "lists.jsonl"},
        "prompt": PROMPT,
        "tune": "lora",
        "lora": {"rank": 2, "dropout": 0},
        "loss": {"with_text": False},
        "optimizer": {"learning_rate": 1e-3, "batch_size": 2, "max_steps": 2},
        "out": "trained",
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_one_recipe_is_trained_with_each_encoder_and_both_are_compared(
    recipe: Path, write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    lines = train("rank", recipe, (), None)
    assert sum(line.startswith("next: ") for line in lines) == 2
    trained = {name: tmp_path / "trained" / name / "last" for name in ("jina_bert", "encoder")}
    models = [str(folder) for folder in trained.values()]
    reranker = {"name": "pe-rank", "label": "PE-Rank on {model}", "options": {"model": models}}
    experiment, config = load_experiment(write_experiment(queries=6, rerankers=["first-stage", reranker]))
    outcome = run(experiment, config, tmp_path / "results")
    assert outcome.failures == {}
    baseline, other = (f"PE-Rank on {model}" for model in models)
    rows = csv.DictReader(table([tmp_path / "results"], "csv", baselines=[baseline]).splitlines())
    tested = {row["system"]: row["nDCG@10_p"] for row in rows}
    assert 0 <= float(tested[other]) <= 1


def test_an_encoder_has_the_start_that_carries_its_name(recipe: Path) -> None:
    settings = load_settings("rank", recipe, ["init_from=./aligned/{encoder}/last"])
    assert [Path(variant.init_from or "").parent.name for variant in settings] == ["jina_bert", "encoder"]
    assert [Path(variant.out or "").name for variant in settings] == ["jina_bert", "encoder"]


def test_poolings_of_one_model_get_folders_of_their_own(recipe: Path) -> None:
    overrides = ["encoder=[{model: a/b, pooling: mean}, {model: a/b, pooling: cls}]"]
    assert [Path(settings.out or "").name for settings in load_settings("rank", recipe, overrides)] == [
        "b-mean",
        "b-cls",
    ]


def test_one_encoder_twice_is_refused(recipe: Path) -> None:
    with pytest.raises(InputError, match="twice"):
        load_settings("rank", recipe, ["encoder=[{model: a/b}, {model: a/b}]"])


@pytest.mark.parametrize("path", sorted(READY.glob("*.yaml")), ids=lambda path: path.stem)
def test_ready_settings_are_valid_and_start_at_the_working_folder(path: Path) -> None:
    if path.stem.startswith("distill"):
        assert read_settings(path, Distillation).dataset.folder == "free-text"
        return
    stage: Any = "cross-encoder" if path.stem.endswith("cross-encoder") else path.stem.rpartition("-")[2]
    for settings in load_settings(stage, path):
        assert not Path(settings.data.train).is_absolute()
        assert (settings.out or "").startswith("runs/")


def test_the_7b_settings_are_the_papers(tmp_path: Path) -> None:
    [jina, bge] = load_settings("rank", READY / "mistral-rank.yaml")
    for settings in (jina, bge):
        optimizer = settings.optimizer
        assert settings.llm.model == "mistralai/Mistral-7B-Instruct-v0.2"
        assert (optimizer.learning_rate, optimizer.schedule, optimizer.warmup) == (2e-5, "cosine", 0.03)
        assert 4 * optimizer.batch_size * optimizer.accumulation == 32  # on the script's four GPUs
        assert (settings.loss.reduction, settings.loss.kl_weight, settings.loss.with_text) == (
            "paper",
            0.2,
            True,
        )
        assert (settings.tune, settings.max_length, settings.encoder.max_length) == ("full", 4096, 128)
    assert [jina.encoder.pooling, bge.encoder.pooling] == ["mean", "cls"]
    [first, _] = load_settings("align", READY / "mistral-align.yaml")
    assert (first.tune, first.optimizer.learning_rate, first.max_length) == ("projector", 1e-3, 512)
