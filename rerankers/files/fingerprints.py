"""Digests of files by their whole content, remembered so that large weights are read once.

A digest is remembered in the cache folder under the file's path, with its size, inode, and the times of its
last change. It counts while all of them are the same, and while they were at rest when the file was read: a
file that changed within the two seconds before is read again, because times may be that coarse.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from rerankers.errors import StoreError
from rerankers.files.paths import cache_folder
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

_WORTH_REMEMBERING = 1 << 20  # bytes
_AT_REST = 2_000_000_000  # nanoseconds


def fields_digest(fields: Iterable[str]) -> str:
    """Return the sha256 of some texts, each after its length, so that no two sequences are joined alike."""
    digest = hashlib.sha256()
    for field in fields:
        content = field.encode(errors="surrogatepass")
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def fingerprint(folder: Path) -> str:
    """Return `sha256:...` over the names, sizes and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        digest.update(
            f"{name}\0{path.stat().st_size}\0{file_digest(path)}\0".encode(errors="surrogateescape")
        )
    return f"sha256:{digest.hexdigest()}"


def is_content_of(folder: Path, stated: str) -> bool:
    """Return whether a fingerprint belongs to a folder; earlier versions wrote one of the files' ends."""
    return stated in (fingerprint(folder), _fingerprint_of_ends(folder))


def _fingerprint_of_ends(folder: Path) -> str:
    """Return the fingerprint that earlier versions wrote: over the first and last MiB of every file."""
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
    """Return the sha256 of a file's content, in hex."""
    before = path.stat()
    if before.st_size < _WORTH_REMEMBERING:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    name = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:32]
    note = cache_folder() / "digests" / f"{name}.json"
    state = _state(before)
    remembered = _remembered(note, state)
    if remembered is not None:
        return remembered
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if _state(path.stat()) == state:
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            replace_file(note, json.dumps({"state": state, "sha256": digest}))
        except (OSError, StoreError):
            pass  # the next reader takes as long
    return digest


def _state(facts: os.stat_result) -> list[int]:
    return [facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns]


def _remembered(note: Path, state: list[int]) -> str | None:
    """Return the digest in a note that was written for this state, well after the file's last change."""
    try:
        content = json.loads(note.read_bytes())
        if content["state"] != state or note.stat().st_mtime_ns - max(state[2:]) < _AT_REST:
            return None
        return str(content["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
