"""File paths as users write them, and the cache folder.

`~` is the home folder and `-` a standard stream. A text that cannot be a path is an `InputError`.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from rerankers.errors import InputError

STANDARD_INPUT = Path("/dev/stdin")
STANDARD_OUTPUT = Path("/dev/stdout")


def input_path(text: str) -> Path:
    """Turn a command-line argument into the path of an input file; `-` is standard input."""
    return STANDARD_INPUT if text == "-" else Path(text)


def output_path(text: str) -> Path:
    """Turn a command-line argument into the path of an output file; `-` is standard output."""
    return STANDARD_OUTPUT if text == "-" else Path(text)


def user_path(name: str | Path) -> Path:
    """Turn a name that a user wrote into a path, `~` expanded; the file need not exist.

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
    """Return the path of the file or folder that a text names, `~` expanded; None if there is none."""
    try:
        path = user_path(text)
    except InputError:
        return None
    return path if path.exists() else None


def cache_folder() -> Path:
    """Return the folder that keeps downloaded wheels, indexes, embeddings and digests.

    It is `$RERANKBENCH_CACHE` if that is set, else the user's cache folder.
    """
    return Path(os.environ.get("RERANKBENCH_CACHE") or platformdirs.user_cache_path("rerankbench"))
