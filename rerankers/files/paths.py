"""Paths as people write them, and the cache folder.

`~` is a home, `-` a standard stream, and no text, however odd, ends in a traceback.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from rerankers.errors import InputError

STANDARD_INPUT = Path("/dev/stdin")
STANDARD_OUTPUT = Path("/dev/stdout")


def input_path(text: str) -> Path:
    """Return the path of an argument that names an input file; `-` is standard input."""
    return STANDARD_INPUT if text == "-" else Path(text)


def output_path(text: str) -> Path:
    """Return the path of an argument that names an output file; `-` is standard output."""
    return STANDARD_OUTPUT if text == "-" else Path(text)


def user_path(name: str | Path) -> Path:
    """Return the path that a name means, whether or not anything is there.

    Raises:
        InputError: no file can have that name, or this user may not look there.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        excerpt = str(name) if len(str(name)) < 80 else f"{str(name)[:60]} ..."
        raise InputError(f"{excerpt!r} cannot be read as a path: {reason}; check it") from error
    return path


def existing_path(text: str) -> Path | None:
    """Return the file or folder that a text names, or None if it names none."""
    try:
        path = user_path(text)
    except InputError:
        return None
    return path if path.exists() else None


def cache_folder() -> Path:
    """Return the folder of wheels, indexes and embeddings: `$RERANKBENCH_CACHE`, else the user's cache."""
    return Path(os.environ.get("RERANKBENCH_CACHE") or platformdirs.user_cache_path("rerankbench"))
