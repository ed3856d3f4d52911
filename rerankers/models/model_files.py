"""The location of a model's files, as `rerankers.models.locate.find_model` returns it, and access to each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rerankers.files.fingerprints import is_content_of
from rerankers.models.remote_code import loading


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The location of a model's files.

    Attributes:
        name: the name as the user wrote it.
        location: a hub id, or the path of a local folder.
        revision: the hub revision asked for; None for local files.
        gguf_file: file name of the weights inside the folder if they are a GGUF file.
        fingerprint: `sha256:...` of the wheel or of the folder; None on the hub, which has commits.
    """

    name: str
    location: str
    revision: str | None = None
    gguf_file: str | None = None
    fingerprint: str | None = None

    @property
    def is_local(self) -> bool:
        """True if the files are on this machine already, rather than on the hub."""
        return self.fingerprint is not None

    def have_content(self, stated: str) -> bool:
        """Return whether the files have a stated fingerprint; always true for files on the hub."""
        return self.fingerprint in (None, stated) or is_content_of(Path(self.location), stated)


def find_file(files: ModelFiles, name: str) -> Path | None:
    """Return the path of one of a model's files, fetched from the hub if need be.

    Args:
        files: the location of the model.
        name: the file's path inside the model.

    Returns:
        The path on this machine; None if the model has no such file.

    Raises:
        ModelError: the hub has no model of that name, or cannot have one.
    """
    if files.is_local:
        local = Path(files.location) / name
        return local if local.is_file() else None
    from transformers.utils.hub import cached_file

    with loading("model", files.name):
        path = cached_file(
            files.location,
            name,
            revision=files.revision or "main",
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    return None if path is None else Path(path)
