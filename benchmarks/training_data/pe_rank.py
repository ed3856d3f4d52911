"""Reads settings files of trainings and runs them, for `rerankbench train`.

A list in place of `encoder` trains the same recipe once with each of them, for an ablation.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from benchmarks.experiments.files.yaml_models import explained, located, opened
from benchmarks.experiments.plan import slug
from benchmarks.measuring.progress import say
from benchmarks.training_data.files import base_of, find_settings
from rerankers.errors import InputError
from rerankers.training.cross_encoder.settings import CrossEncoderSettings
from rerankers.training.e2rank.settings import E2RankSettings
from rerankers.training.settings import STAGES, Settings
from rerankers.training.text.settings import TextSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.experiments.files.marked_yaml import MarkedYaml
    from rerankers.training.settings import EncoderSettings, Stage, TrainingSettings


_SETTINGS: dict[Stage, type[TrainingSettings]] = {
    **STAGES,
    "text": TextSettings,
    "cross-encoder": CrossEncoderSettings,
    "e2rank": E2RankSettings,
}


def load_settings(
    stage: Stage, path: Path, overrides: Sequence[str] = (), out: Path | None = None
) -> list[Any]:
    """Read and validate a training's settings file; return the settings of each training it describes.

    A list of encoders gives one training each, in a folder of its own. Relative paths start at the file's
    folder, those of a ready file at the working folder. `{encoder}` in `init_from` stands for the encoder's
    folder name.

    Args:
        stage: the kind of training.
        path: the file.
        overrides: `key=value` assignments, applied before validation.
        out: result folder; None is the file's own, or `runs/train-<name of the file>`.

    Returns:
        settings of the stage's model, see `_SETTINGS`.

    Raises:
        InputError: anything is wrong with it: `file:line: what`.
    """
    file, written = opened(path, overrides, "a training is a mapping: llm, encoder, data, ...")
    try:
        content = _located(written, base_of(path))
    except InputError as error:  # a path that no file can have
        raise InputError.at(path, None, str(error)) from error
    encoders = content.get("encoder")
    if encoders == []:
        raise file.error(("encoder",), "a list of encoders needs at least one")
    is_ablation = isinstance(encoders, list)
    variants = encoders if isinstance(encoders, list) else [encoders]
    trainings = [
        _checked(stage, file, {**content, "encoder": encoder} if is_ablation else content)
        for encoder in variants
    ]
    names = encoder_names([training.encoder for training in trainings if isinstance(training, Settings)])
    if len(set(names)) < len(names):
        raise file.error(("encoder",), "the same encoder stands here twice; keep one of them")
    trainings_in_folders = []
    for settings, name in zip(trainings, names or [""], strict=True):
        folder = out or Path(settings.out or f"runs/train-{path.stem}")
        changes: dict[str, object] = {"out": str(folder / name if is_ablation else folder)}
        if isinstance(settings, Settings) and settings.init_from is not None:
            changes["init_from"] = settings.init_from.replace("{encoder}", name)
        trainings_in_folders.append(settings.model_copy(update=changes))
    return trainings_in_folders


def encoder_names(encoders: Sequence[EncoderSettings]) -> list[str]:
    """Return a folder name for each encoder: its model's name, and options that distinguish equal models."""
    models = [slug(encoder.model.rstrip("/").rpartition("/")[2]) for encoder in encoders]
    options = [encoder.model_dump() for encoder in encoders]
    names = []
    for model, variant in zip(models, options, strict=True):
        alike = [other for other, name in zip(options, models, strict=True) if name == model]
        values = [str(value) for key, value in variant.items() if any(other[key] != value for other in alike)]
        names.append("-".join([model, *map(slug, values)]))
    return names


def _located(content: dict[str, Any], base: Path) -> dict[str, Any]:
    """Return settings with paths relative to `base` replaced by paths from the working folder."""
    paths = {"train", "validation"}
    resolved = {**content}
    for section in ("llm", "encoder", "model"):
        if section in resolved:
            resolved[section] = located(resolved[section], base, "")
    if isinstance(resolved.get("out"), str):
        resolved["out"] = located(resolved["out"], base, "path")
    start = resolved.get("init_from")
    if isinstance(start, str) and not start.startswith(("bundled:", "pypi:")):
        is_hub_id = start.count("/") == 1 and "{" not in start and not start.startswith((".", "~", "/"))
        resolved["init_from"] = located(start, base, "" if is_hub_id else "path")
    if isinstance(resolved.get("data"), dict):
        resolved["data"] = {
            key: located(value, base, "path") if key in paths else value
            for key, value in resolved["data"].items()
        }
    return resolved


def _checked(stage: Stage, file: MarkedYaml, content: dict[str, Any]) -> TrainingSettings:
    """Validate the content of a settings file as the stage's model; errors name file and line."""
    model = _SETTINGS[stage]
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise explained(file, error, model) from error


def train(
    stage: Stage,
    path: Path,
    overrides: Sequence[str],
    out: Path | None,
    *,
    dry_run: bool = False,
    command: str | None = None,
) -> list[str]:
    """Run all trainings of a settings file, one after another, and return lines about each.

    Args:
        stage: the kind of training.
        path: the settings file, or the name of a ready one.
        overrides: `key=value` assignments.
        out: result folder; None for the file's own.
        dry_run: stop each training before its first step, and write nothing.
        command: the command line, for the model card.

    Returns:
        lines to print; empty in all but the main process.
    """
    from accelerate import PartialState

    from rerankers.training import run

    lines = []
    for settings in load_settings(stage, find_settings(str(path)), overrides, out):
        folder = Path(settings.out or "")
        if dry_run:
            run.plan(stage, settings, folder, say)
            lines.append(f"dry run: nothing was trained or written in {folder}")
            continue
        outcome = run.train(stage, settings, folder, say, command=command)
        scored = "" if outcome.best_score is None else f", best nDCG@10 {outcome.best_score:.4f}"
        lines += [f"{outcome.step} steps{scored}; checkpoint: {outcome.checkpoint}", f"next: {outcome.next}"]
    return lines if PartialState().is_main_process else []
