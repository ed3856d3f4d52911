"""A file of JSON lines that grows, and that a killed run goes on with.

The first line says what the others come from, `{"about": {"digest": ..., ...}}`. Lines are only ever
appended.
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
    """A file of rows that were made with the same settings.

    A line that a kill cut off is removed. Use it within `FolderLock`.

    Args:
        path: the file.
        about: where its rows come from; `digest` stands for the settings that decide them.
        kept: makes of a row what is kept of it in memory; raises ValueError, KeyError or TypeError if the row
            is not one of the file's.
        kind: what the rows are, for messages.
        remedy: what to do where the file holds other rows, for messages.

    Attributes:
        rows: what is kept of the rows that it holds, without lines about them.
        notes: what later lines about them say, in their order.

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
        """The digest of the settings that decide its rows."""
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
        """Write rows, and wait until they are on the disk.

        Raises:
            StoreError: the disk is full or refuses to write.
        """
        self._write(rows)
        self.rows += map(self._kept, rows)

    def note(self, values: Mapping[str, Any]) -> None:
        """Write a line about the rows, unless the last one says the same."""
        if not self.notes or self.notes[-1] != values:
            self._write([{"about": {"digest": self.digest, **values}}])
            self.notes.append(dict(values))

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(
                f"{self._path}: cannot write ({error.strerror}). Make room, then run again"
            ) from error

    def _read(self) -> None:
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
