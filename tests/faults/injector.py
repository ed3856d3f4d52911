"""Faults at the N-th file operation of a command: a kill, or a disk that is full from then on.

    operations = trace(work, [folder])            every operation of an undisturbed run, as text
    disturbed(work, [folder], Fault("kill", 7))   the same, killed before its seventh operation

Each run is a forked child, so that a kill is one and nothing is cleaned up behind it. Only operations below
the given folders count: what opens a file to write, writes, waits for the disk, renames, removes or makes a
folder. At a write the first half of the bytes is written before the fault.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Work = Callable[[], int]
    """What a child does; returns its exit status."""

TRIED: Counter[str] = Counter()
"""Faults at file operations so far, by kind."""

KILLED = 137
CRASHED = 99
"""Exit status of a child whose work ended in an exception."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATH_CALLS = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "truncate", "link", "symlink")
_FILE_CALLS = ("fsync", "ftruncate", "write")
_NEEDS_ROOM = {"open", "write", "mkdir", "fsync"}
"""Operations that a full disk refuses; it lets files be renamed and removed."""


@dataclass(frozen=True)
class Fault:
    """What happens before an operation, the first one being 1.

    Attributes:
        kind: `kill` ends the process, `full` refuses all that needs room from then on.
        at: the operation.
    """

    kind: Literal["kill", "full"]
    at: int


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit status, what it wrote to both streams, and its file operations."""

    status: int
    said: str
    operations: tuple[str, ...]


class Disk:
    """Counts the file operations of this process, and lets the fault happen; never taken back."""

    def __init__(self, folders: Sequence[Path], fault: Fault | None) -> None:
        self._roots = [str(folder.resolve()) for folder in folders]
        self._fault = fault
        self._paths: dict[int, str] = {}  # by descriptor
        self._calls = {name: getattr(os, name) for name in (*_PATH_CALLS, *_FILE_CALLS, "open", "close")}
        self._open_file = io.open
        self.operations: list[str] = []

    def install(self) -> None:
        """Put this between the program and the system."""
        for name in _PATH_CALLS:
            setattr(os, name, self._on_path(name))
        for name in _FILE_CALLS:
            setattr(os, name, self._on_descriptor(name))
        os.open = self._open_descriptor
        io.open = self._open  # type: ignore[assignment]

    def _is_watched(self, path: Any) -> bool:
        if isinstance(path, int):
            return path in self._paths
        absolute = str(Path(os.fsdecode(path)).absolute())
        return any(absolute.startswith(root) for root in self._roots)

    def happens(self, name: str, path: object) -> None:
        """Count an operation, or let the fault happen in its place."""
        target = self._paths.get(path, path) if isinstance(path, int) else path
        self.operations.append(f"{name} {Path(str(target)).name}")
        if self._fault is None or len(self.operations) < self._fault.at:
            return
        if self._fault.kind == "kill":
            os._exit(KILLED)
        if name in _NEEDS_ROOM:
            raise OSError(
                errno.ENOSPC, os.strerror(errno.ENOSPC), *([] if name in _FILE_CALLS else [str(target)])
            )

    def is_due(self) -> bool:
        """Whether the fault happens at the next operation."""
        return self._fault is not None and len(self.operations) + 1 >= self._fault.at

    def _on_path(self, name: str) -> Callable[..., Any]:
        call = self._calls[name]

        def counted(path: Any, *arguments: Any, **options: Any) -> Any:
            if options.get("dir_fd") is not None or self._is_watched(path):
                self.happens(name, path)
            return call(path, *arguments, **options)

        return counted

    def _on_descriptor(self, name: str) -> Callable[..., Any]:
        call = self._calls[name]

        def counted(descriptor: int, *arguments: Any) -> Any:
            if self._is_watched(descriptor):
                self.happens(name, descriptor)
            return call(descriptor, *arguments)

        return counted

    def _open_descriptor(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        is_watched = bool(flags & _WRITES) and self._is_watched(path)
        if is_watched:
            self.happens("open", path)
        descriptor: int = self._calls["open"](path, flags, *arguments, **options)
        self._paths.pop(descriptor, None)
        if is_watched:
            self._paths[descriptor] = str(path)
        return descriptor

    def _open(self, path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not set("wax+") & set(mode) or not self._is_watched(path):
            return self._open_file(path, mode, *arguments, **options)
        if not isinstance(path, int):
            self.happens("open", path)
        file = self._open_file(path, mode, *arguments, **options)
        self._paths[file.fileno()] = self._paths.get(path, "?") if isinstance(path, int) else str(path)
        return _File(self, file)


class _File:
    """A file whose writes count."""

    def __init__(self, disk: Disk, file: Any) -> None:
        self._disk, self._file = disk, file

    def write(self, content: Any) -> Any:
        if self._disk.is_due():
            self._file.write(content[: len(content) // 2])
            with contextlib.suppress(OSError):
                self._file.flush()
        self._disk.happens("write", self._file.fileno())
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        self._file.__enter__()
        return self

    def __exit__(self, *how: object) -> Any:
        return self._file.__exit__(*how)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)


def trace(work: Work, folders: Sequence[Path]) -> Ended:
    """Do the work in a child without a fault."""
    return disturbed(work, folders, None)


def disturbed(work: Work, folders: Sequence[Path], fault: Fault | None) -> Ended:
    """Do the work in a child, with a fault."""
    if fault is not None:
        TRIED[fault.kind] += 1
    read, write = os.pipe()
    child = os.fork()
    if not child:
        _child(work, folders, fault, write)
    os.close(write)
    with os.fdopen(read, encoding="utf-8", errors="replace") as pipe:
        message, _, operations = pipe.read().partition("\0")
    _, status = os.waitpid(child, 0)
    return Ended(os.waitstatus_to_exitcode(status), message, tuple(operations.splitlines()))


def _child(work: Work, folders: Sequence[Path], fault: Fault | None, pipe: int) -> None:
    os.dup2(pipe, 1)
    os.dup2(pipe, 2)
    import sys

    sys.stdout = io.open(1, "w", encoding="utf-8", closefd=False)  # noqa: UP020, SIM115 - pytest's catches all
    sys.stderr = io.open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: UP020, SIM115
    disk = Disk(folders, fault)
    status = CRASHED
    try:
        disk.install()
        status = work()
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(OSError):
        disk._calls["write"](pipe, b"\0" + "\n".join(disk.operations).encode())
    os._exit(status)
