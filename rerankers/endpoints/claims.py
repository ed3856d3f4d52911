"""Claims on requests, so that processes that share a response cache do not send the same request at once.

A claim is a lock on one byte of a file beside the cache, which the system takes back when the process ends.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_held: set[tuple[int, int]] = set()  # by this process: locks exclude other processes only


class Claims:
    """Claims on requests of one response cache. On a disk without locks, every claim is granted.

    Args:
        path: the file of the response cache; claims are locked in `PATH.claims` beside it.
    """

    def __init__(self, path: Path) -> None:
        self._file = _open(path.resolve().with_name(f"{path.name}.claims"))

    def take(self, number: int) -> bool:
        """Claim a request, given by a number below 2^62.

        Return False while this or another process holds the claim.
        """
        if self._file is None:
            return True
        if (self._file, number) in _held or not _lock(self._file, number):
            return False
        _held.add((self._file, number))
        return True

    def release(self, number: int) -> None:
        """Give up the claim on the request with this number."""
        if self._file is not None:
            _unlock(self._file, number)
            _held.discard((self._file, number))


@cache
def _open(path: Path) -> int | None:
    """Return a descriptor of the file of claims, or None if it cannot be opened.

    It stays open for as long as the process lives: closing it would give up all its locks.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None


def _lock(file: int, number: int) -> bool:
    """Lock the byte `number` of a file without waiting.

    False if another process holds it, True without locks.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a disk without locks, or no lock left
    return True


def _unlock(file: int, number: int) -> None:
    """Unlock the byte `number` of a file."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, number)
    except OSError:
        return
