"""`rerankbench train`: settings files of PE-Rank's trainings, and what the command does with them.

A list in place of `encoder` trains the same recipe once with each of them, for an ablation.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from benchmarks.marked_yaml import MarkedYaml
from benchmarks.progress import say
from benchmarks.yaml_models import explained, located
from rerankers.errors import InputError
from rerankers.pe_rank.training.settings import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.pe_rank.training.settings import Settings, Stage


def load_settings(stage: Stage, path: Path, overrides: Sequence[str] = ()) -> list[Settings]:
    """Read and check a settings file; one training for each encoder it lists.

    Relative paths start at the file's folder.

    Raises:
        InputError: anything is wrong with it: `file:line: what`.
    """
    file = MarkedYaml(path)
    for assignment in overrides:
        file.override(assignment)
    if not isinstance(file.content, dict):
        raise InputError.at(path, 1, "a training is a mapping: llm, encoder, data, ...")
    base = path.resolve().parent
    content = {**file.content}
    for section in ("llm", "encoder"):
        if section in content:
            content[section] = located(content[section], base, "")
    for key in ("init_from", "out"):
        if isinstance(content.get(key), str):
            content[key] = located(content[key], base, "path")
    if isinstance(content.get("data"), dict):
        paths = {"train", "validation"}
        content["data"] = {
            key: located(value, base, "path") if key in paths else value
            for key, value in content["data"].items()
        }
    encoders = content.get("encoder")
    if not isinstance(encoders, list):
        return [_checked(stage, file, content)]
    if not encoders:
        raise file.error(("encoder",), "a list of encoders needs at least one")
    return [_checked(stage, file, {**content, "encoder": encoder}) for encoder in encoders]


def _checked(stage: Stage, file: MarkedYaml, content: dict[str, Any]) -> Settings:
    model = STAGES[stage]
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise explained(file, error, model) from error


def train(stage: Stage, path: Path, overrides: Sequence[str], out: Path | None) -> list[str]:
    """Run the trainings of a settings file one after the other; a line about each."""
    from rerankers.pe_rank.training import run

    trainings = load_settings(stage, path, overrides)
    told = []
    for settings in trainings:
        folder = out or Path(settings.out or f"runs/train-{path.stem}")
        if len(trainings) > 1:
            folder = folder / settings.encoder.model.rstrip("/").rpartition("/")[2].replace(":", "-")
        outcome = run.train(stage, settings, folder, say)
        scored = "" if outcome.best_score is None else f", best nDCG@10 {outcome.best_score:.4f}"
        told.append(
            f"{outcome.step} steps{scored}; next: --reranker pe-rank --option model={outcome.checkpoint}"
        )
    return told
