"""Presets: an embedding model's usage as its authors state it, where its own files do not. They are data.

A hub id that `presets.toml` lists follows its authors' model card. Everything else is read from the model's
own files (`rerankers.encoders.folder`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rerankers.errors import ModelError
from rerankers.files.model_json import parse_model_json
from rerankers.models.model_files import find_file

if TYPE_CHECKING:
    from rerankers.models.locate import ModelFiles

Pooling = Literal["mean", "cls", "last_token"]
POOLING_NAMES = {"mean": "mean", "cls": "cls", "last_token": "lasttoken"}
"""sentence-transformers' names of the poolings that an option may choose."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model's pooling, prefixes and longest input by its preset; None where no preset states them.

    Attributes:
        pooling: used where the model's own files state none.
        query_prefix: put before queries, in place of the prompt that the files state.
        passage_prefix: put before passages, likewise.
        max_length: longest input in tokens, special ones included.
    """

    pooling: Pooling | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    max_length: int | None = None


def presets() -> dict[str, dict[str, Any]]:
    """Return every preset by hub id, as written in `presets.toml`."""
    return tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))


def find_recipe(name: str) -> Recipe:
    """Return the preset of a hub id; an empty one for any other name."""
    preset = presets().get(name, {})
    return Recipe(**{key: value for key, value in preset.items() if key != "source"})


def read_json(files: ModelFiles, name: str) -> dict[str, Any]:
    """Return the object in one of a model's JSON files; empty where the model has no such file.

    Args:
        files: the location of the model.
        name: the file's path inside the model.

    Raises:
        ModelError: the file is damaged, does not hold an object, or has a key twice.
    """
    value = _read(files, name, dict, "no JSON object")
    return {} if value is None else value


def read_list(files: ModelFiles, name: str) -> list[Any]:
    """Return the list in one of a model's JSON files; empty where the model has no such file.

    Args:
        files: the location of the model.
        name: the file's path inside the model.

    Raises:
        ModelError: the file is damaged, does not hold a list, holds an empty one, or has a key twice.
    """
    value = _read(files, name, list, "no JSON list")
    if value == []:
        raise ModelError(f"{files.name!r}: {name} is an empty list; download {files.name!r} again")
    return [] if value is None else value


def _read(files: ModelFiles, name: str, kind: type, otherwise: str) -> Any:
    """Return the content of one of a model's JSON files; None where the model has no such file.

    Args:
        files: the location of the model.
        name: the file's path inside the model.
        kind: the type that the content must have.
        otherwise: the words of the error for another type.

    Raises:
        ModelError: the file is damaged, or its content has another type.
    """
    path = find_file(files, name)
    if path is None:
        return None
    value = parse_model_json(path, files.name)
    if not isinstance(value, kind):
        raise ModelError(f"{path}: {otherwise}; download {files.name!r} again")
    return value
