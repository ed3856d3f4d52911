"""A strict reader of the JSON settings that come with a model: it refuses a key that occurs twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def parse_model_json(path: Path, model: str) -> Any:
    """Return the content of a model's JSON file.

    Args:
        path: the file.
        model: the model's name, for the error.

    Raises:
        ModelError: the file cannot be read, is not JSON, or has a key twice in one object.
    """
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=unique_keys(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged ({error}); download {model!r} again") from error


def unique_keys(path: Path) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Return a hook for `json.loads` that refuses an object with a key twice, of which one would win.

    Args:
        path: the file that is read, for errors.

    Raises:
        ModelError: by the hook; it names the file and the key.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return an object's pairs as a dict; refuse a key that occurs twice."""
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ModelError(f"{path}: the key {twice!r} stands twice. Keep one of the two.")
        return value

    return unique
