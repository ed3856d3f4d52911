"""Finds, reads and validates settings files of training and of training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from benchmarks.experiments.files.yaml_models import explained, folder_of, located, opened, settings_file
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

READY = Path(__file__).parents[1] / "configs" / "training"

_Settings = TypeVar("_Settings", bound=BaseModel)


def find_settings(name: str) -> Path:
    """Return the path of a settings file, given its path or the name of a ready one.

    Raises:
        InputError: there is neither.
    """
    return settings_file(name, READY, "settings")


def base_of(path: Path) -> Path:
    """Return the folder that a settings file's relative paths start from.

    It is the file's own folder, or the working folder for a ready file.
    """
    return Path.cwd() if path.resolve().parent == READY else folder_of(path)


def read_settings(path: Path, model: type[_Settings], overrides: Sequence[str] = ()) -> _Settings:
    """Read a settings file and validate it as a model; return the settings.

    Args:
        path: the file.
        model: the settings model.
        overrides: `key=value` assignments, applied before validation.

    Raises:
        InputError: `file:line: what is wrong`.
    """
    expected = f"expected a mapping of settings: {', '.join(model.model_fields)}"
    file, written = opened(path, overrides, expected)
    try:
        return model.model_validate(located(written, base_of(path), ""))
    except InputError as error:  # a path that no file can have
        raise InputError.at(path, None, str(error)) from error
    except ValidationError as error:
        raise explained(file, error, model) from error
