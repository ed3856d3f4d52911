"""SHA-256 digests of files and folders, cached so that large weight files are read once.

A file's digest is kept in the cache folder under its path, with its size, inode, and the times of its last
change. It counts while all of them are the same, and while they were at rest when the file was read: a
file that changed within the two seconds before is read again, because times may be that coarse.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from rerankers.errors import StoreError
from rerankers.files.paths import cache_folder
from rerankers.files.writing import replace_file
from rerankers.progress import Activity
from rerankers.text.quantities import megabytes

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

_WORTH_REMEMBERING = 1 << 20  # bytes
_AT_REST = 2_000_000_000  # nanoseconds


def fields_digest(fields: Iterable[str]) -> str:
    """Return the SHA-256 (hex) of a sequence of texts.

    Each text is hashed behind its length in bytes, so that ["ab", "c"] and ["a", "bc"] differ.
    """
    digest = hashlib.sha256()
    for field in fields:
        content = field.encode(errors="surrogatepass")
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def fingerprint(folder: Path) -> str:
    """Return `sha256:...` over the relative paths, sizes and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        digest.update(
            f"{name}\0{path.stat().st_size}\0{file_digest(path)}\0".encode(errors="surrogateescape")
        )
    return f"sha256:{digest.hexdigest()}"


def is_content_of(folder: Path, stated: str) -> bool:
    """Return whether the fingerprint `stated` belongs to the files of a folder.

    It may also have the form of earlier versions, which read only the first and last MiB of each file.
    """
    return stated in (fingerprint(folder), _fingerprint_of_ends(folder))


def _fingerprint_of_ends(folder: Path) -> str:
    """Return a folder's fingerprint as earlier versions wrote it: over each file's first and last MiB."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex.

    The digest of a file of 1 MiB or more is taken from the cache folder if it is there, else stored in it.
    """
    before = path.stat()
    if before.st_size < _WORTH_REMEMBERING:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    name = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:32]
    cache_file = cache_folder() / "digests" / f"{name}.json"
    state = _state(before)
    cached = _cached_digest(cache_file, state)
    if cached is not None:
        return cached
    what = f"reading {path.name} for its digest ({megabytes(before.st_size)})"
    with Activity(what), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if _state(path.stat()) == state:
        try:
            cache_file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(cache_file, json.dumps({"state": state, "sha256": digest}))
        except (OSError, StoreError):
            pass  # the next reader takes as long
    return digest


def _state(facts: os.stat_result) -> list[int]:
    """Return a file's size, inode and times of last change (ns), by which a changed file is noticed."""
    return [facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns]


def _cached_digest(cache_file: Path, state: list[int]) -> str | None:
    """Return the digest in a cache file; None unless it counts for a file in this state.

    The file must have been written for the same `_state`, and well after the file's last change.
    """
    try:
        content = json.loads(cache_file.read_bytes())
        if content["state"] != state or cache_file.stat().st_mtime_ns - max(state[2:]) < _AT_REST:
            return None
        return str(content["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
