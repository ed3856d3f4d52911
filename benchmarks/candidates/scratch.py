"""Keeps a candidate set's passages in a scratch file instead of in memory, and reads one query at a time.

6,980 queries x 100 passages of the usual length take 400 MB as objects. Here a query takes some 200 bytes of
memory, however long its passages are. The file has no name and is gone with its owner, or with the process.
"""

from __future__ import annotations

import marshal
import os
import tempfile
import weakref
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from rerankers.errors import StoreError
from rerankers.interface import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from numpy.typing import NDArray


def _opened(owner: object) -> IO[bytes]:
    """Open an unnamed temporary file and close it when `owner` is garbage-collected.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        file = tempfile.TemporaryFile(prefix="rerankbench-")  # noqa: SIM115 - closed with its owner
    except OSError as error:
        _fail(error)
    weakref.finalize(owner, _close, file)
    return file


def _close(file: IO[bytes]) -> None:
    """Close a scratch file; ignore errors, since its content is no longer needed."""
    with suppress(OSError):  # what could not be written is not needed any more
        file.close()


def _append(file: IO[bytes], content: bytes | None = None) -> None:
    """Append bytes to a scratch file; without `content`, flush its buffer instead."""
    try:
        file.flush() if content is None else file.write(content)
    except OSError as error:
        _fail(error)


def _read(file: IO[bytes], start: int, size: int) -> bytes:
    """Return `size` bytes of a scratch file from byte `start` on."""
    return os.pread(file.fileno(), size, start)  # one call of the system, and no buffer to fill


def _fail(error: OSError) -> NoReturn:
    """Raise a StoreError that says the disk for temporary files is full."""
    raise StoreError(
        f"{tempfile.gettempdir()}: no room for the candidates ({error.strerror}); "
        "make room, or set TMPDIR to a larger disk"
    ) from error


class PoolCandidates(Mapping[str, tuple[Candidate, ...]]):
    """A mapping from query id to candidates, best first, kept in a scratch file.

    Attributes:
        counts: number of candidates by query id, held in memory.
    """

    def __init__(self) -> None:
        self._file = _opened(self)
        self._end = 0
        self._places: dict[str, tuple[int, int, int]] = {}  # start, and the sizes of the two parts
        self.counts: dict[str, int] = {}

    def flush(self) -> None:
        """Flush buffered candidates to the scratch file, after which they can be read.

        Raises:
            StoreError: the disk for temporary files is full.
        """
        _append(self._file)

    @abstractmethod
    def doc_ids(self, query_id: str) -> tuple[str, ...]:
        """Return the ids of a query's candidates, best first."""

    @abstractmethod
    def texts(self, query_id: str, ranks: Sequence[int]) -> list[str]:
        """Return the texts of a query's candidates at these 0-based ranks; "" where none was stored."""

    def _write(self, query_id: str, count: int, fields: Any, head: bytes = b"") -> None:
        """Append a query's block: `fields`, after a head that can be read without them."""
        block = marshal.dumps(fields)
        _append(self._file, head + block)
        self._places[query_id] = self._end, len(head), len(block)
        self.counts[query_id] = count
        self._end += len(head) + len(block)

    def _block(self, query_id: str) -> Any:
        """Return the fields of a query's block."""
        start, head, size = self._places[query_id]
        content = _read(self._file, start + head, size)
        return marshal.loads(content)  # noqa: S302 - this process wrote the file

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[type[ScratchCandidates], tuple[list[tuple[str, tuple[Candidate, ...]]]]]:
        return ScratchCandidates, ([*self.items()],)  # to another process, with all that is in it


class ScratchCandidates(PoolCandidates):
    """Candidates with their texts, all in one scratch file.

    Args:
        candidates: pairs of query id and candidates, best first; consumed one by one.

    Raises:
        StoreError: the disk for temporary files is full.
    """

    def __init__(self, candidates: Iterable[tuple[str, Iterable[Candidate]]] = ()) -> None:
        super().__init__()
        self._last: tuple[str | None, tuple[Candidate, ...]] = (None, ())
        for query_id, ranked in candidates:
            self.add(query_id, ranked)
        self.flush()

    def add(self, query_id: str, ranked: Iterable[Candidate]) -> None:
        """Store a query's candidates, best first; call `flush` after the last query.

        Raises:
            StoreError: the disk for temporary files is full.
        """
        fields = [(query_id, str(c.doc_id), str(c.text), float(c.score)) for c in ranked]
        self._write(query_id, len(fields), fields)

    def __getitem__(self, query_id: str) -> tuple[Candidate, ...]:
        if not self.counts[query_id]:
            return ()
        last = self._last  # once: other threads may read as well
        if last[0] != query_id:
            fields = self._block(query_id)
            made = map(tuple.__new__, repeat(Candidate), fields)  # as the constructor does, without Python
            self._last = last = query_id, tuple(cast("Iterator[Candidate]", made))
        return last[1]

    def doc_ids(self, query_id: str) -> tuple[str, ...]:
        """Return the ids of a query's candidates, best first."""
        return tuple(candidate.doc_id for candidate in self[query_id])

    def texts(self, query_id: str, ranks: Sequence[int]) -> list[str]:
        """Return the texts of a query's candidates at these 0-based ranks."""
        candidates = self[query_id]
        return [candidates[rank].text for rank in ranks]


class MissingTextError(LookupError):
    """Raised when the text of a candidate is not among the stored texts."""


class LateTexts(PoolCandidates):
    """Candidates of which only ids, scores and text hashes are stored; texts are looked up at each access.

    Args:
        texts: the texts by hash; None if they were not stored, so that every text is "".

    Raises:
        StoreError: the disk for temporary files is full.
    """

    def __init__(self, texts: ScratchTexts | None) -> None:
        super().__init__()
        self._texts = texts

    def add(self, query_id: str, doc_ids: tuple[str, ...], scores: tuple[float, ...], hashes: bytes) -> None:
        """Store a query's candidates, best first: their ids, scores and text hashes (eight bytes each).

        Raises:
            MissingTextError: a text is missing; the error names the candidate.
            StoreError: the disk for temporary files is full.
        """
        if self._texts is not None:
            is_there = self._texts.are_there(_numbers(hashes))
            if not all(is_there):
                raise MissingTextError(repr(doc_ids[is_there.index(False)]))
        self._write(query_id, len(doc_ids), (scores, hashes), marshal.dumps(doc_ids))

    def doc_ids(self, query_id: str) -> tuple[str, ...]:
        """Return the ids of a query's candidates, best first, without looking up their texts."""
        start, size, _ = self._places[query_id]
        doc_ids: tuple[str, ...] = marshal.loads(_read(self._file, start, size))  # noqa: S302 - as in `_block`
        return doc_ids

    def texts(self, query_id: str, ranks: Sequence[int]) -> list[str]:
        """Return the texts of a query's candidates at these 0-based ranks, and look up no others."""
        if self._texts is None:
            return [""] * len(ranks)
        hashes = _numbers(self._block(query_id)[1])[np.array(ranks, dtype=np.int64)]
        return [text or "" for text in self._texts.find(hashes)]

    def __getitem__(self, query_id: str) -> tuple[Candidate, ...]:
        doc_ids, (scores, hashes) = self.doc_ids(query_id), self._block(query_id)
        texts = self._texts.find(_numbers(hashes)) if self._texts else [""] * len(doc_ids)
        return tuple(
            Candidate(query_id, doc_id, text or "", score)
            for doc_id, score, text in zip(doc_ids, scores, texts, strict=True)
        )


def _numbers(hashes: bytes) -> NDArray[np.uint64]:
    """Return packed 8-byte big-endian hashes as an integer array, one number per hash."""
    return np.frombuffer(hashes, dtype=">u8").astype(np.uint64)


class ScratchTexts:
    """A lookup from a 64-bit hash to its text: texts in a scratch file, 32 bytes of memory per text.

    Args:
        texts: pairs of hash and text; consumed one by one.

    Raises:
        StoreError: the disk for temporary files is full.
    """

    def __init__(self, texts: Iterable[tuple[int, str]]) -> None:
        self._file = _opened(self)
        hashes, starts, sizes = array("Q"), array("Q"), array("Q")
        end = 0
        for text_hash, text in texts:
            content = text.encode()
            _append(self._file, content)
            hashes.append(text_hash)
            starts.append(end)
            sizes.append(len(content))
            end += len(content)
        _append(self._file)
        unsorted = np.frombuffer(hashes, dtype=np.uint64) if hashes else np.zeros(0, np.uint64)
        order = np.argsort(unsorted, kind="stable")
        self._hashes = unsorted[order]
        self._starts, self._sizes = (np.array(values, dtype=np.uint64)[order] for values in (starts, sizes))

    def are_there(self, hashes: Sequence[int] | NDArray[np.uint64]) -> list[bool]:
        """Return, for each hash, whether a text with it is stored; the scratch file is not read."""
        wanted = np.array(hashes, dtype=np.uint64)
        if not self._hashes.size:
            return [False] * len(hashes)
        places = np.minimum(np.searchsorted(self._hashes, wanted), self._hashes.size - 1)
        is_there: list[bool] = (self._hashes[places] == wanted).tolist()
        return is_there

    def find(self, hashes: Sequence[int] | NDArray[np.uint64]) -> list[str | None]:
        """Return, for each hash, its text, or None if no text with it is stored."""
        wanted = np.array(hashes, dtype=np.uint64)
        if not self._hashes.size:
            return [None] * len(hashes)
        places = np.minimum(np.searchsorted(self._hashes, wanted), self._hashes.size - 1)
        columns = self._hashes[places] == wanted, self._starts[places], self._sizes[places]
        return [
            _read(self._file, start, size).decode() if is_there else None
            for is_there, start, size in zip(*(column.tolist() for column in columns), strict=True)
        ]
