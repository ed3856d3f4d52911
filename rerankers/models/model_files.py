"""The location of a model's files, as `rerankers.models.locate.find_model` finds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rerankers.files.fingerprints import is_content_of


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The location of a model's files.

    Attributes:
        name: the name as the user wrote it.
        location: a hub id, or the path of a local folder.
        revision: the hub revision asked for; None for local files.
        gguf_file: file name of the weights inside the folder if they are a GGUF file.
        fingerprint: `sha256:...` of the wheel or of the folder; None on the hub, where the commit tells.
    """

    name: str
    location: str
    revision: str | None = None
    gguf_file: str | None = None
    fingerprint: str | None = None

    @property
    def is_local(self) -> bool:
        """Return whether the files are on this machine already."""
        return self.fingerprint is not None

    def have_content(self, stated: str) -> bool:
        """Return whether a fingerprint belongs to these files; files on the hub are not compared."""
        return self.fingerprint in (None, stated) or is_content_of(Path(self.location), stated)
