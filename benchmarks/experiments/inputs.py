"""Replaces local paths in settings by digests, so that a cell is defined by content, not by location.

A value is a path if it stands under a key of datasets and first stages that holds paths, or if a reranker
loads a model of that name. Other values count as paths if they look like one (with a slash or a dot) and
exist.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.exclusion import RULES
from benchmarks.measuring.progress import say
from rerankers.files.fingerprints import file_digest
from rerankers.files.paths import existing_path
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

PATH_KEYS = frozenset({"folder", "candidates", "documents", "queries", "qrels", "path", "encoder", "exclude"})
"""Keys of datasets and first stages whose values are opened as paths or models."""


@dataclass
class Inputs:
    """A collector of the local files and folders that an experiment names, with digests of their content.

    Attributes:
        digests: sha256 of each file, or name and sha256 of a folder's files, by path.
    """

    digests: dict[str, Any] = field(default_factory=dict)

    def by_content(self, value: Any, models: Collection[str] = (), *, is_path: bool = False) -> Any:
        """Return settings with each local path replaced by a digest of its content, which is also collected.

        Args:
            value: settings, nested in mappings and lists.
            models: names that are models, even if they do not look like paths.
            is_path: whether a string is a path, even if it does not look like one.
        """
        if isinstance(value, dict):
            return {
                name: self.by_content(item, models, is_path=name in PATH_KEYS and item not in RULES)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.by_content(item, models, is_path=is_path) for item in value]
        if isinstance(value, str) and value.startswith("bundled:"):
            return find_model(value).fingerprint
        if isinstance(value, str) and (is_path or value in models or "/" in value or "." in value):
            path = existing_path(value)
            return value if path is None else self._of_path(value, path)
        return value

    def summary(self) -> dict[str, str]:
        """Return 16 hex digits for each collected path, by path."""
        return {
            name: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
            for name, value in sorted(self.digests.items())
        }

    def of_models(self, names: Collection[str], value: object) -> list[Any]:
        """Return digests of those local model folders in `names` that `value`, the options, does not mention.

        A checkpoint refers to such models.
        """
        entries = []
        for name in sorted(names):
            path = existing_path(name)
            if path is not None and path.is_dir() and not _names(value, name):
                entries.append(self._of_path(name, path))
        return entries

    def _of_path(self, name: str, path: Path) -> Any:
        """Return the digest of a file or a folder, computed once; warn if it is a pipe."""
        if path.is_dir() and path.resolve().parent == path.resolve():
            return name  # "/" is no data and no model
        if name not in self.digests:
            if not path.is_file() and not path.is_dir():
                say(
                    f"{name}: is a pipe, which can be read once only: a finished cell is taken for that of "
                    "the same content. Use another --out for other content."
                )
            self.digests[name] = file_digest(path) if path.is_file() else _of_folder(path)
        return self.digests[name]


def _names(value: object, name: str) -> bool:
    """Return whether a string occurs as a value in nested mappings and lists."""
    if isinstance(value, dict):
        return any(_names(item, name) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_names(item, name) for item in value)
    return value == name


def _of_folder(folder: Path) -> list[list[str]]:
    """Return relative path and sha256 of each file below a folder, sorted."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [[str(file.relative_to(folder)), file_digest(file)] for file in files]
