"""Rows and rankings of a cell in little memory, so that all cells of a folder can be held together.

Rows are kept as the lines they are written as. Rankings stay in their file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

from benchmarks.results.record import QueryRow
from rerankers.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Hits = tuple[tuple[str, float], ...]


class StoredRows(Sequence[QueryRow]):
    """A read-only sequence of a cell's rows, parsed at each access: a tenth of the memory of the objects.

    Args:
        lines: lines of `queries.jsonl`.
    """

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        self._lines = [*lines]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> QueryRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[QueryRow]: ...

    def __getitem__(self, index: int | slice) -> QueryRow | list[QueryRow]:
        if isinstance(index, slice):
            return list(map(QueryRow.model_validate_json, self._lines[index]))
        return QueryRow.model_validate_json(self._lines[index])

    def __iter__(self) -> Iterator[QueryRow]:
        return map(QueryRow.model_validate_json, self._lines)


class StoredRankings(Mapping[str, Hits]):
    """A mapping from query id to (doc id, score) pairs, best first, parsed at each access.

    Args:
        blocks: the lines of `ranking.trec` by query id.
        path: the file, from which lines are read again at each access; None to keep them in memory.
    """

    def __init__(self, blocks: Mapping[str, bytes], path: Path | None = None) -> None:
        self._path, self._blocks = path, blocks
        self._places: dict[str, tuple[int, int]] = {}
        end = 0
        for query_id, block in blocks.items():
            self._places[query_id] = end, len(block)
            end += len(block)
        self._size = end
        if path is not None and path.exists() and path.read_bytes() == b"".join(blocks.values()):
            self._blocks = {}  # otherwise the file also holds lines that were never committed

    def __getitem__(self, query_id: str) -> Hits:
        start, size = self._places[query_id]
        if self._path is None or self._blocks:
            block = self._blocks[query_id]
        else:
            with self._path.open("rb") as file:
                file.seek(start)
                block = file.read(size)
        fields = block.decode().split()  # six a line, none of them with a space in it
        return tuple(zip(fields[2::6], map(float, fields[4::6]), strict=True))

    def orders(self, limit: int | None = None) -> dict[str, list[str]]:
        """Return doc ids by query id, best first, cut after `limit`; faster than access with scores.

        Raises:
            StoreError: the file's size has changed since it was read first.
        """
        return {
            query_id: (block if limit is None else _first_lines(block, limit)).decode().split()[2::6]
            for query_id, block in self._all()
        }

    def _all(self) -> Iterable[tuple[str, bytes]]:
        """Yield (query id, ranking lines) pairs, from memory or from the file."""
        if self._path is None or self._blocks or not self._places:
            return self._blocks.items()
        content = self._path.read_bytes()
        if len(content) != self._size:
            raise StoreError(f"{self._path}: changed while it was being read. Run the command again.")
        return ((query_id, content[start : start + size]) for query_id, (start, size) in self._places.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _first_lines(block: bytes, count: int) -> bytes:
    """Return the first `count` lines of a block."""
    return b"\n".join(block.split(b"\n", count)[:count])
