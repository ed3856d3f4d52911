"""An advisory lock on a folder, so that one process at a time writes into it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rerankers.errors import StoreError
from rerankers.files.locks import lock

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class FolderLock:
    """A lock on a folder, held from `with` to the end of its block.

    The file `FOLDER/.lock` is locked. The system releases it when its holder dies, so a killed process leaves
    nothing that needs cleaning.

    Raises:
        StoreError: another process holds it, or the folder cannot be written.
    """

    _file: int

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> FolderLock:
        try:
            return self._acquire()
        except OSError as error:
            reason = f"cannot write ({error.strerror}); make room or check its permissions, then run again"
            raise StoreError(f"{self._folder}: {reason}") from error

    def _acquire(self) -> FolderLock:
        """Make the folder if needed, lock its `.lock` file, and write this process's id into the file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        if not lock(file):
            holder = os.pread(file, 32, 0).decode(errors="replace").strip() if os.name == "posix" else "?"
            os.close(file)
            raise StoreError(
                f"{self._folder}: process {holder or '?'} is writing here; wait for it, "
                "or give this run a folder of its own with --out"
            )
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
