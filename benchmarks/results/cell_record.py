"""Reads and writes `record.json` of a cell: validated when read, sealed when the cell is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from benchmarks.results.record import SCHEMA_VERSION, Record
from benchmarks.results.seal import RANKING, RAW, ROWS, broken_files, seal
from rerankers.errors import DamagedError, StoreError
from rerankers.files.writing import replace_file
from rerankers.text.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.results.record import QueryRow

REMEDY = "run the same experiment again to measure the cell anew, or import it again"


def read_record(cell: Path) -> Record | None:
    """Read and validate a cell's record; None if the cell was never begun.

    Raises:
        DamagedError: it cannot be read, or it is missing although the cell has other files.
        StoreError: it has another schema version.
    """
    path = cell / "record.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw["schema_version"]
    except FileNotFoundError:
        if any((cell / name).exists() for name in RAW):
            raise DamagedError(f"{path}: is gone; {REMEDY}") from None
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DamagedError(f"{path}: damaged ({reason}); {REMEDY}") from error
    if version != SCHEMA_VERSION:
        is_newer = isinstance(version, int) and version > SCHEMA_VERSION
        remedy = "update rerankbench" if is_newer else "run the experiment again into another folder"
        raise StoreError(f"{path}: has schema version {version}, this is {SCHEMA_VERSION}; {remedy}")
    try:
        return Record.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"{path}: {where}: {first['msg']}; {REMEDY}") from error


def readable_record(cell: Path) -> Record | None:
    """Read a cell's record; None if it is missing or damaged."""
    try:
        return read_record(cell)
    except DamagedError:
        return None


def check_seal(cell: Path, record: Record) -> None:
    """Compare the files of a finished cell with the digests in its record; do nothing for other cells.

    Raises:
        DamagedError: a file does not match its digest, or the record has no seal.
    """
    if record.status != "done":
        return
    if record.seal is None:
        raise DamagedError(f"{cell / 'record.json'}: the cell is done and has no seal; {REMEDY}")
    for name, damage in broken_files(cell, record.seal).items():
        raise DamagedError(f"{cell / name}: {damage}; {REMEDY}")


def check_sessions(cell: Path, record: Record, rows: Sequence[QueryRow]) -> None:
    """Check that every row's session is in the record.

    Raises:
        DamagedError: a row names a session that the record lacks.
    """
    for number, row in enumerate(rows, 1):
        if row.session >= len(record.sessions):
            raise DamagedError(
                f"{cell / ROWS}: row {number} is of session {row.session}, and record.json has "
                f"{len(record.sessions)}; {REMEDY}"
            )


def is_finished(cell: Path) -> bool:
    """Return whether a cell is marked as done and its files match the seal."""
    record = readable_record(cell)
    if record is None or record.status != "done":
        return False
    try:
        check_seal(cell, record)
    except DamagedError:
        return False
    return True


def write_record(cell: Path, record: Record) -> None:
    """Replace a cell's `record.json`, with secrets removed; a cell that is done is sealed."""
    sealed = (record.seal or seal(cell)) if record.status == "done" else None
    record = record.model_copy(update={"seal": sealed})
    replace_file(cell / "record.json", without_secrets(record.model_dump_json(indent=2)))


def write_imported(cell: Path, record: Record, ranking: bytes) -> None:
    """Write a cell of an imported run: its ranking lines, then its record. It has no rows."""
    cell.mkdir(parents=True, exist_ok=True)
    replace_file(cell / RANKING, ranking)
    write_record(cell, record)
