"""The one way to open an input file, plain or compressed: it is opened once, so pipes are read whole.

The format is recognised by the first bytes, which are then handed on: a pipe such as `<(zcat qrels.gz)` gives
its bytes to one reader only, and a second `open` would start behind the first block.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from rerankers.errors import InputError
from rerankers.files.file_kinds import HEAD_BYTES, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)
"""The exceptions of Python's decompressors at damaged input; bz2 raises an `OSError` without a number."""

_DECOMPRESSORS: dict[bytes, tuple[str, Callable[[Any], Any]]] = {
    b"\x1f\x8b": ("a gzip file", lambda file: gzip.GzipFile(fileobj=file)),
    b"BZh": ("a bzip2 file", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("an xz file", lzma.LZMAFile),
}
COMPRESSED = (".gz", ".bz2", ".xz")
"""Suffixes of the names of compressed files; what a file is, its first bytes say."""

_BUFFER_BYTES = 1 << 18


class Digest(Protocol):
    """The part of a hash object of `hashlib` that readers use."""

    def update(self, data: bytes, /) -> None:
        """Add bytes to the hashed content."""


def uncompressed_name(path: Path) -> str:
    """Return a file's name without the suffix of its compression: `run.trec` for `run.trec.gz`."""
    return path.stem if path.suffix in COMPRESSED else path.name


@contextmanager
def open_once(path: Path, digest: Digest | None = None) -> Iterator[IO[bytes]]:
    """Open a file for reading as bytes, decompressed if it is gzip, bzip2 or xz.

    Args:
        path: a file, FIFO or pipe.
        digest: updated with the bytes of the file as they are read, compressed ones as they are stored.

    Raises:
        InputError: the file has a binary format that no reader takes.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)  # waits for as many bytes, or for the end of the file
        whole = io.BufferedReader(_Rejoined(head, file, digest), _BUFFER_BYTES)
        compression = next((use for magic, use in _DECOMPRESSORS.items() if head.startswith(magic)), None)
        if compression is None:
            if (kind := kind_of(head)) is not None:
                raise InputError.at(path, None, f"this is {kind}")
            yield whole
            return
        name, decompress = compression
        with decompress(whole) as decompressed:
            if (kind := kind_of(decompressed.peek(HEAD_BYTES))) is not None:
                raise InputError.at(path, None, f"this is {name} of {kind}")
            yield cast("IO[bytes]", decompressed)


class _Rejoined(io.RawIOBase):
    """A byte stream that gives the bytes already read from a file (`head`) and then the rest of the file.

    Args:
        head: the bytes read so far.
        rest: the file, positioned behind them.
        digest: updated with all bytes as they are read; None for none.
    """

    def __init__(self, head: bytes, rest: io.BufferedReader, digest: Digest | None) -> None:
        self._head, self._rest, self._digest = head, rest, digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the next bytes, and return how many they are; 0 at the end of the file."""
        content = self._head[: len(buffer)] or self._rest.read1(len(buffer))
        self._head = self._head[len(content) :]
        if self._digest is not None:
            self._digest.update(content)
        buffer[: len(content)] = content
        return len(content)
