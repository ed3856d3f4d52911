"""Writes one cell's folder: append-only, and whole after a kill at any instant.

A query's lines go into `ranking.trec` first; its line in `queries.jsonl` is the commit mark and carries their
digest. Lines without a mark, and a torn last line, were not committed: readers skip them, and the next writer
removes them. `record.json` is replaced atomically. That of a finished cell seals the other files
(`benchmarks.results.seal`).

`ranking.trec` keeps the first repeat's rankings. Later repeats keep their digest, which shows whether a
repeat ranked differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results.cell_lines import committed, digest_of
from benchmarks.results.cell_record import REMEDY, check_sessions, read_record, write_record
from benchmarks.results.exchange.trec import trec_lines
from benchmarks.results.record import QueryRow, Record
from benchmarks.results.seal import RANKING, RAW, ROWS, broken_files
from rerankers.errors import DamagedError, StoreError
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import FileIO
    from pathlib import Path
    from types import TracebackType

    from rerankers.interface import Ranking


class CellWriter:
    """A writer that appends rankings and rows to a cell, resuming an earlier process's work.

    Rows of a finished cell that do not match its seal, and rows of a cell without a record, are measured
    again. The old files are kept under another name, `*.damaged`.

    Args:
        cell: the cell's folder, created if it is missing.
        record: the record to write, with this process's `Session` last in `sessions`.

    Attributes:
        done: (query id, repeat) pairs that are in the cell already.
        session: position of this process's session.
    """

    def __init__(self, cell: Path, record: Record) -> None:
        cell.mkdir(parents=True, exist_ok=True)
        self.cell = cell
        earlier, _, rows = recover(cell)
        kept = max((row.session for row in rows), default=-1) + 1  # sessions that left nothing are forgotten
        sessions = (earlier.sessions[:kept] if earlier else ()) + record.sessions[-1:]
        self.session = len(sessions) - 1
        self.done = {(row.query_id, row.repeat) for row in rows}
        self._ranked = {row.query_id for row in rows}
        begun = {"status": "running", "error": None, "seal": None}
        self.record = record.model_copy(update={"sessions": sessions, **begun})
        write_record(self.cell, self.record)
        try:
            self._rankings = (cell / RANKING).open("ab", buffering=0)
            self._rows = (cell / ROWS).open("ab", buffering=0)
        except OSError as error:
            raise _cannot_write(cell, error) from error

    def __enter__(self) -> CellWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the cell's files."""
        self._rankings.close()
        self._rows.close()

    def add(
        self,
        rankings: Sequence[Ranking],
        repeat: int,
        total_seconds: float,
        arrived_seconds: float | None = None,
        queued_seconds: float | None = None,
        control_seconds: float | None = None,
    ) -> int:
        """Append the rankings of one call to the cell; queries that are already there are kept as they are.

        Args:
            rankings: the call's rankings, one per query.
            repeat: number of the repeat, from 0.
            total_seconds: wall time of each ranking.
            arrived_seconds: see `QueryRow`.
            queued_seconds: see `QueryRow`.
            control_seconds: time of the identity control after the call; recorded with the first ranking.

        Returns:
            the number of new rankings.

        Raises:
            StoreError: the disk is full or refuses to write.
            InputError: an id cannot stand in a TREC run.
        """
        blocks: dict[str, bytes] = {}
        rows: list[QueryRow] = []
        for ranking in rankings:
            if (ranking.query_id, repeat) in self.done:
                continue
            lines = blocks[ranking.query_id] = trec_lines(ranking, self.record.cell)
            row = QueryRow(
                query_id=ranking.query_id,
                repeat=repeat,
                session=self.session,
                total_seconds=total_seconds,
                stage_seconds=dict(ranking.stage_seconds),
                usage=ranking.usage.nonzero(),
                ranking=digest_of(lines),
                control_seconds=None if rows else control_seconds,
                arrived_seconds=arrived_seconds,
                queued_seconds=queued_seconds,
            )
            rows.append(row)
        return self.append(rows, blocks)

    def append(self, rows: Sequence[QueryRow], blocks: Mapping[str, bytes]) -> int:
        """Append rows, and ranking lines of queries that have none yet.

        Rows that are already there are skipped.

        Args:
            rows: rows of this process, or of another whose session the record holds.
            blocks: ranking lines by query id; a query without candidates has none.

        Returns:
            the number of new rows.

        Raises:
            StoreError: the disk is full or refuses to write.
        """
        new: dict[tuple[str, int], bytes] = {}
        ranked: dict[str, bytes] = {}
        for row in rows:
            if (row.query_id, row.repeat) in self.done:
                continue
            new.setdefault((row.query_id, row.repeat), row.line())
            if row.query_id not in self._ranked:
                ranked[row.query_id] = blocks.get(row.query_id, b"")
        try:
            _append(self._rankings, b"".join(ranked.values()))
            _append(self._rows, b"".join(new.values()))
        except OSError as error:
            raise _cannot_write(self.cell, error) from error
        self.done.update(new)
        self._ranked.update(ranked)
        return len(new)

    def update(self, **changes: object) -> None:
        """Replace fields of the cell's record and write the record."""
        self.record = self.record.model_copy(update=changes)
        write_record(self.cell, self.record)

    def update_session(self, **changes: object) -> None:
        """Replace fields of this process's session in the record and write the record."""
        session = self.record.sessions[-1].model_copy(update=changes)
        self.update(sessions=(*self.record.sessions[:-1], session))


def write_in_order(
    cell: Path,
    record: Record,
    blocks: Mapping[str, bytes],
    rows: Sequence[QueryRow],
    query_ids: Sequence[str],
) -> None:
    """Write all files of a cell anew, with rankings and rows in query order.

    A kill during the call leaves the cell whole.

    Args:
        cell: the cell's folder, created if it is missing.
        record: its record.
        blocks: ranking lines by query id.
        rows: its rows, in any order.
        query_ids: all queries, in the order to write.
    """
    cell.mkdir(parents=True, exist_ok=True)
    place = {query_id: place for place, query_id in enumerate(query_ids)}
    in_order = sorted(rows, key=lambda row: (row.repeat, place[row.query_id]))
    is_done = record.status == "done"
    write_record(cell, record.model_copy(update={"status": "running"}) if is_done else record)
    replace_file(cell / RANKING, b"".join(blocks[query_id] for query_id in query_ids if query_id in blocks))
    replace_file(cell / ROWS, b"".join(row.line() for row in in_order))
    if is_done:  # last of all: what is marked as done is whole
        write_record(cell, record)


def _cannot_write(cell: Path, error: OSError) -> StoreError:
    """Return the error for a cell that the system refuses to write."""
    return StoreError(
        f"{cell}: cannot write ({error.strerror}); make room and run the same command to resume"
    )


def recover(cell: Path) -> tuple[Record | None, dict[str, bytes], list[QueryRow]]:
    """Return a cell's record, ranking lines by query and rows, and remove lines that were not committed.

    If the cell is damaged, its files are renamed to `*.damaged`, and the result is empty.
    """
    try:
        record = read_record(cell)
        if record is not None and record.status == "done" and ROWS in _broken(cell, record):
            raise DamagedError(f"{cell / ROWS}: does not match the seal; {REMEDY}")
        blocks, rows = committed(cell)  # a ranking that does not match its row is left out
        if record is not None:
            check_sessions(cell, record, rows)
    except DamagedError:
        for name in RAW:
            if (cell / name).exists():
                (cell / name).replace(cell / f"{name}.damaged")
        return None, {}, []
    kept = {RANKING: b"".join(blocks.values()), ROWS: b"".join(row.line() for row in rows)}
    sizes = {name: (cell / name).stat().st_size if (cell / name).exists() else 0 for name in kept}
    wrong = [name for name, content in kept.items() if sizes[name] != len(content)]
    if wrong and record is not None and record.status == "done":  # a kill from here on leaves no broken seal
        record = record.model_copy(update={"status": "running"})
        write_record(cell, record)
    for name in wrong:
        replace_file(cell / name, kept[name])
    return record, blocks, rows


def _broken(cell: Path, record: Record) -> dict[str, str]:
    """Return the damage of a finished cell's files by file name: all of them if the record has no seal."""
    return dict.fromkeys(RAW, "has no seal") if record.seal is None else broken_files(cell, record.seal)


def _append(file: FileIO, data: bytes) -> None:
    """Write all bytes to an unbuffered file."""
    written = file.write(data)
    while written < len(data):
        written += file.write(memoryview(data)[written:])
