"""The one writer of files: a file has its old content or its new one, whenever the process dies.

The new content goes into a scratch file beside the target, reaches the disk, and then takes the target's
name. Processes that write one target at once do not disturb each other: the last one wins. A scratch file is
locked while it is written, so that the next writer of the target can remove what a killed process left.

Only regular files are ever replaced. A device, a FIFO and any path below `/dev` and `/proc`, such as
`/dev/stdout`, are written to directly.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rerankers.errors import StoreError
from rerankers.files.locks import lock

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LONGEST_NAME = 40  # characters of the name in the scratch file's, which has at most 255 bytes


class OutputFile:
    """A file open for writing, whose failures are raised as a `StoreError` that names the target.

    Args:
        path: the target, for error messages.
        descriptor: of the open file, which may be a scratch file in the target's place.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._file = path, os.fdopen(descriptor, "wb")

    def write(self, content: str | bytes) -> int:
        """Write bytes, or text as UTF-8, and return the number of bytes."""
        with _storing(self._path):
            return self._file.write(content.encode() if isinstance(content, str) else content)

    def flush(self) -> None:
        """Hand over to the system the bytes written so far, which may still be in a buffer."""
        with _storing(self._path):
            self._file.flush()

    def sync(self) -> None:
        """Flush, and wait until the content is on the disk; for a device or a pipe, only flush."""
        with _storing(self._path):
            self._file.flush()
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file without raising: a failure to write was raised by `write` or `sync` before."""
        with suppress(OSError):
            self._file.close()


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file's whole content (text as UTF-8) atomically, in place of what it held.

    Raises:
        StoreError: the disk is full or refuses to write; the old content stays.
    """
    with atomic_file(path) as file:
        file.write(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[OutputFile]:
    """Open a file to be written piece by piece; the new content replaces the old one when the block succeeds.

    If the block raises, the file keeps its old content. Devices and pipes are written to directly.

    Raises:
        StoreError: the disk is full or refuses to write; the old content stays.
    """
    with _storing(path):
        is_direct = is_written_directly(path)
        target = path if is_direct else Path(os.path.realpath(path))
        if target.is_dir():
            raise StoreError(f"{path}: cannot write, this is a folder; name a file")
    if is_direct:
        with _storing(path):
            file = OutputFile(path, os.open(path, os.O_WRONLY | os.O_APPEND))
        with _closing(file):
            yield file
            file.sync()
        return
    with _storing(path):
        _remove_leftovers(target)
        scratch, descriptor = _scratch_file(target)
    is_done = False
    try:
        file = OutputFile(path, descriptor)
        with _closing(file):
            yield file
            file.sync()
            if os.name == "nt":
                file.close()  # Windows does not rename an open file
            with _storing(path):
                scratch.replace(target)  # elsewhere before closing, which gives up the lock
            is_done = True
    finally:
        if not is_done:
            with suppress(OSError):
                scratch.unlink()


@contextmanager
def _closing(file: OutputFile) -> Iterator[None]:
    """Close the file at the end of the block, whether or not the block raised."""
    try:
        yield
    finally:
        file.close()


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StoreError` that names the path; broken pipes pass unchanged."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        advice = "make room, then run again" if error.errno in _NO_ROOM else "check the path, then run again"
        raise StoreError(f"{path}: cannot write ({error.strerror}); {advice}") from error


def is_written_directly(path: Path) -> bool:
    """Return whether a path names a device, FIFO or stream, which is written to and never replaced."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow /dev/stdout to its file
    if absolute.parts[1:2] in (("dev",), ("proc",)) and absolute.parts[1:3] != ("dev", "shm"):
        return True
    try:
        return not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode)
    except FileNotFoundError:
        return False


def _scratch_prefix(target: Path) -> str:
    """Return the beginning of the names of a target's scratch files."""
    return f".{target.name[:_LONGEST_NAME]}."


def _scratch_file(target: Path) -> tuple[Path, int]:
    """Make and lock a scratch file beside the target; return its path and its open descriptor.

    Its name is used by no other process, and it has the permissions of any new file.
    """
    while True:
        scratch = target.with_name(f"{_scratch_prefix(target)}{secrets.token_hex(6)}.new")
        descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        lock(descriptor, may_wait=True)
        if os.fstat(descriptor).st_nlink:
            return scratch, descriptor
        os.close(descriptor)  # another writer took it for a leftover between the two calls


def _remove_leftovers(target: Path) -> None:
    """Delete the target's scratch files that no running process holds locked."""
    start = _scratch_prefix(target)
    with suppress(OSError), os.scandir(target.parent) as entries:
        names = [e.name for e in entries if e.name.startswith(start) and e.name.endswith(".new")]
        for leftover in map(target.with_name, names):
            with suppress(OSError):
                descriptor = os.open(leftover, os.O_RDWR)
                try:
                    if lock(descriptor):
                        leftover.unlink()
                finally:
                    os.close(descriptor)
