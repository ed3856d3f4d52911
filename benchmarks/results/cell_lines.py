"""Reads the committed lines of a cell's folder: ranking lines by query, and rows that match them."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from benchmarks.results.cell_record import REMEDY
from benchmarks.results.record import QueryRow
from benchmarks.results.seal import RANKING, ROWS
from rerankers.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def committed(cell: Path) -> tuple[dict[str, bytes], list[QueryRow]]:
    """Read a cell's committed results: ranking lines by query id, and rows in file order.

    Raises:
        DamagedError: a line is not what this program wrote.
    """
    blocks, rows = committed_lines(cell)
    return blocks, [row for _, row in rows]


def committed_lines(cell: Path) -> tuple[dict[str, bytes], list[tuple[bytes, QueryRow]]]:
    """Read a cell's committed results: ranking lines by query id, and (line, row) pairs in file order.

    Raises:
        DamagedError: a line is not what this program wrote.
    """
    written = blocks_of(cell)
    blocks: dict[str, bytes] = {}
    rows: list[tuple[bytes, QueryRow]] = []
    seen: set[tuple[str, int]] = set()
    path = cell / ROWS
    for number, line in enumerate(_whole_lines(path), 1):
        row = _row(line, f"{path}:{number}")
        if (row.query_id, row.repeat) in seen:
            raise DamagedError(
                f"{path}:{number}: query {row.query_id!r}, repeat {row.repeat} is there twice; {REMEDY}"
            )
        seen.add((row.query_id, row.repeat))
        if row.query_id not in blocks:
            block = written.get(row.query_id, b"")
            if digest_of(block) != row.ranking:
                continue  # the system lost the ranking but kept the mark: the query is measured again
            blocks[row.query_id] = block
        rows.append((line, row))
    return blocks, rows


def _row(line: bytes, where: str) -> QueryRow:
    """Parse one line of `queries.jsonl`; raise a DamagedError that names `where` if it is invalid."""
    try:
        return QueryRow.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = f" ({field}: {first['msg']})" if field else ""
        raise DamagedError(f"{where}: not a row of results{reason}; {REMEDY}") from error


_SAME_QUERY = re.compile(rb"([^ \n]+) [^\n]*\n(?:\1 [^\n]*\n)*")  # whole lines: a torn one has no end


def blocks_of(cell: Path) -> dict[str, bytes]:
    """Read a cell's `ranking.trec`: its lines by query id, committed or not."""
    path = cell / RANKING
    try:
        return split_blocks(path.read_bytes() if path.exists() else b"")
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path}: holds bytes that are not text; {REMEDY}") from error


def split_blocks(content: bytes) -> dict[str, bytes]:
    """Group the whole lines of a TREC run, or of a part of one, by query id."""
    blocks: dict[str, bytes] = {}
    for block in _SAME_QUERY.finditer(content):
        query_id = block[1].decode()
        blocks[query_id] = blocks.get(query_id, b"") + block[0]
    return blocks


def rows_of(cell: Path) -> list[QueryRow]:
    """Return the rows of a cell that this process has written or recovered: all of them are committed.

    Their rankings are not compared with them: `committed` does that, and takes five times as long.
    """
    return split_rows((cell / ROWS).read_bytes())


def split_rows(content: bytes) -> list[QueryRow]:
    """Parse whole lines of `queries.jsonl` into rows."""
    return [QueryRow.model_validate_json(line) for line in content.splitlines()]


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file that end in a newline; none if the file is missing."""
    if path.exists():
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))


def digest_of(lines: bytes) -> str:
    """Return the first 16 hex digits of the sha256 of ranking lines, which the query's row carries."""
    return hashlib.sha256(lines).hexdigest()[:16]
