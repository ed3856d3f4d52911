"""A lock per machine, so that a latency measurement on the CPU runs alone there.

A cell that measures latency on the CPU runs alone on its machine. Cells with devices of their own, and cells
that measure throughput, may run side by side, but not beside such a cell. Ray's own resources do not show
this: two of its nodes may be processes of one machine, and two clusters may share one. A file that all
processes of the machine see is therefore locked, exclusively or shared. The system takes the lock back when
its holder dies.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.results.record import Protocol

FILE_NAME = "rerankbench-measuring.lock"


def runs_alone(protocol: Protocol, device: dict[str, int]) -> bool:
    """Return whether a task needs its machine alone: it measures latency and has no GPU among its devices."""
    return protocol.mode != "throughput" and not device.get("num_gpus")


class MachineLock:
    """A lock on this machine, held from `acquire` to the end of the `with` block.

    Where the system has no such locks (Windows), every task gets it at once.

    Args:
        is_exclusive: whether no other task may measure meanwhile.
        path: the file to lock; by default one in the folder for temporary files.
    """

    def __init__(self, is_exclusive: bool, path: Path | None = None) -> None:
        self._is_exclusive = is_exclusive
        self._path = path or Path(tempfile.gettempdir()) / FILE_NAME
        self._file: int | None = None

    def __enter__(self) -> MachineLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def acquire(self, *, may_wait: bool) -> bool:
        """Take the lock, waiting for it if `may_wait`; return whether it was taken."""
        if sys.platform == "win32":
            return True
        import fcntl

        if self._file is None:
            self._file = _opened(self._path)
        kind = fcntl.LOCK_EX if self._is_exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(self._file, kind if may_wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _opened(path: Path) -> int:
    """Open the lock file, creating it if it is missing; return its file descriptor."""
    try:  # a file of another user can be opened for reading alone, and not with O_CREAT
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
