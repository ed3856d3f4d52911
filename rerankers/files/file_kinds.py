"""Recognition of file formats that no reader accepts, by a file's first bytes, with advice for the user."""

from __future__ import annotations

HEAD_BYTES = 512
"""Number of leading bytes that `kind_of` needs: the length of a tar archive's first block."""

_STARTS = {
    b"\x1f\x8b": "a gzip file; decompress it",
    b"BZh": "a bzip2 file; decompress it",
    b"\xfd7zXZ\x00": "an xz file; decompress it",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; decompress it (zstd -d)",
    b"PK\x03\x04": "a ZIP archive; unpack it",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive; unpack it",
    b"PAR1": "a Parquet file; convert it to JSON lines or a table, or name it .parquet where Parquet is read",
    b"ARROW1": "an Arrow file; convert it to JSON lines or a table",
    b"SQLite format 3\x00": "an SQLite database; export its tables",
    b"\x93NUMPY": "a NumPy array; write JSON lines or a table",
    b"\x89HDF": "an HDF5 file; convert it to JSON lines or a table",
    b"%PDF": "a PDF document; fetch the data themselves",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
    b"version https://git-lfs": "a Git LFS pointer in place of the file; run git lfs pull",
}
_HTML = (b"<!doctype html", b"<html")
_TAR_MARK = slice(257, 262)


def kind_of(head: bytes) -> str | None:
    """Return the format of a file that begins with the bytes `head`, with advice; None if it may be text.

    The result reads, for example, "a gzip file; decompress it".
    """
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    if head[_TAR_MARK] == b"ustar":
        return "a tar archive; unpack it"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle, which can run code when it is read; write JSON lines instead"
    if head.lstrip().lower().startswith(_HTML):
        return "an HTML page, perhaps the error page of a download; fetch the file itself"
    return None
