"""Seals a finished cell: its record holds digests of its files, which reach the disk before the record does.

A file of a finished cell that was cut, changed or removed later does not match the seal. Such a cell is
damaged: no table counts it, and the next run into the folder measures it again.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from rerankers.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RANKING, ROWS = "ranking.trec", "queries.jsonl"
RAW = (RANKING, ROWS)
"""Files of a cell beside its record."""


def seal(cell: Path) -> dict[str, str]:
    """Flush a cell's files to the disk, and return the sha256 of each by file name.

    Raises:
        StoreError: the disk refuses.
    """
    try:
        return {name: _sha256(cell / name, sync=True) for name in RAW if (cell / name).exists()}
    except OSError as error:
        raise StoreError(f"{cell}: cannot write ({error.strerror}); make room, then run again") from error


def broken_files(cell: Path, sealed: Mapping[str, str]) -> dict[str, str]:
    """Compare a cell's files with their sealed sha256; return a description of the damage by file name."""
    wrong = {}
    for name, digest in sealed.items():
        try:
            actual = _sha256(cell / name)
        except FileNotFoundError:
            wrong[name] = "is gone"
        except OSError as error:
            wrong[name] = f"cannot be read ({error.strerror})"
        else:
            if actual != digest:
                wrong[name] = "was changed after the cell was finished"
    return wrong


def _sha256(path: Path, *, sync: bool = False) -> str:
    """Return a file's sha256 in hex; with `sync`, flush the file to the disk first."""
    with path.open("rb") as file:
        if sync and os.name == "posix":
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
