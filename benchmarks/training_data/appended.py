"""An append-only file of JSON lines, with which an interrupted run can be resumed.

The first line describes the origin of the others, `{"about": {"digest": ..., ...}}`.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rerankers.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import IO

T = TypeVar("T")


class Appended(Generic[T]):
    """An append-only file of rows that were made with the same settings; a context manager for writing.

    A last line that was cut off by a kill is removed. Use it within `FolderLock`.

    Args:
        path: the file.
        about: description of the rows' origin; `digest` identifies the settings that decide them.
        kept: function that extracts from a row what is kept in memory; raises ValueError, KeyError or
            TypeError if the row does not belong to the file.
        kind: name of the rows for error messages.
        remedy: what to do if the file holds other rows, for error messages.

    Attributes:
        rows: the result of `kept` for each row of the file.
        notes: contents of the notes in the file, in order.

    Raises:
        InputError: `file:line`: the file holds something else, or was made with other settings.
    """

    _file: IO[bytes]

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        kept: Callable[[Mapping[str, Any]], T],
        kind: str = "a distillation",
        remedy: str = "Give another --out",
    ) -> None:
        self._path, self._about, self._kept = path, about, kept
        self._kind, self._remedy = kind, remedy
        self.rows: list[T] = []
        self.notes: list[dict[str, Any]] = []
        if path.exists():
            self._read()

    @property
    def digest(self) -> str:
        """Digest of the settings that decide the rows."""
        return str(self._about["digest"])

    def __enter__(self) -> Appended[T]:
        self._file = self._path.open("ab")
        if not self._path.stat().st_size:
            self._write([{"about": self._about}])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows to the file, and wait until they are on the disk.

        Raises:
            StoreError: the disk is full or refuses to write.
        """
        self._write(rows)
        self.rows += map(self._kept, rows)

    def note(self, values: Mapping[str, Any]) -> None:
        """Append a note, `values` that describe the rows, unless it equals the last note."""
        if not self.notes or self.notes[-1] != values:
            self._write([{"about": {"digest": self.digest, **values}}])
            self.notes.append(dict(values))

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows as JSON lines and flush them to the disk."""
        try:
            self._file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(
                f"{self._path}: cannot write ({error.strerror}). Make room, then run again"
            ) from error

    def _read(self) -> None:
        """Read all whole lines of the file, and truncate a torn last line."""
        whole = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                self._take(number, line)
        if whole < self._path.stat().st_size:
            os.truncate(self._path, whole)

    def _take(self, number: int, line: bytes) -> None:
        """Parse one line into `rows` or `notes`; raise InputError if its digest or form is wrong."""
        try:
            values = json.loads(line)
            if number > 1 and "about" not in values:
                self.rows.append(self._kept(values))
                return
            about = values["about"]
            digest = about["digest"]
        except (ValueError, KeyError, TypeError) as error:
            reason = f"this is not a line of {self._kind}. {self._remedy}"
            raise InputError.at(self._path, number, reason) from error
        if digest != self.digest:
            reason = f"the lines below were made with other settings or other models. {self._remedy}"
            raise InputError.at(self._path, number, reason)
        if number > 1:
            self.notes.append({key: value for key, value in about.items() if key != "digest"})
