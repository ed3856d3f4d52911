"""Writes and reads the compressed JSON lines of a candidate set, and computes the digest that names it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from rerankers.files.writing import atomic_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rerankers.interface import Candidate

_CHUNK = 1 << 18  # bytes decompressed at once


class Row(BaseModel):
    """One line of `pool.jsonl.gz`: a query with its grades and candidates.

    A candidate is (doc id, score, hash of the text), best first.
    """

    model_config = ConfigDict(cache_strings="keys")  # ids and hashes hardly ever come twice

    query_id: str
    query: str
    qrels: dict[str, int] | None
    candidates: list[tuple[str, float, str]]
    instruction: str | None = None


def pool_lines(
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    candidates: Mapping[str, Sequence[Candidate]],
    instructions: Mapping[str, str],
) -> Iterator[bytes]:
    """Yield the lines of `pool.jsonl.gz`, one JSON object per query; the digest is computed from them."""
    for query_id, query in queries.items():
        grades = dict(sorted(qrels[query_id].items())) if query_id in qrels else None
        hits = [
            [candidate.doc_id, float(candidate.score), _text_hash(candidate.text)]
            for candidate in candidates[query_id]
        ]
        row = {"query_id": query_id, "query": query, "qrels": grades, "candidates": hits}
        if query_id in instructions:  # which came later: other rows stay as they were
            row["instruction"] = instructions[query_id]
        yield _json_line(row)


def text_lines(candidates: Mapping[str, Sequence[Candidate]]) -> Iterator[bytes]:
    """Yield the lines of `texts.jsonl.gz`: one JSON object with doc id and text for each distinct passage."""
    seen: set[bytes] = set()
    for ranked in candidates.values():
        for candidate in ranked:
            line = _json_line({"doc_id": candidate.doc_id, "text": candidate.text})
            passage = hashlib.sha256(line).digest()[:12]  # instead of all of it
            if passage not in seen:
                seen.add(passage)
                yield line


def _json_line(value: object) -> bytes:
    """Return a value as compact UTF-8 JSON that ends in a newline; NaN is refused."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def _text_hash(text: str) -> str:
    """Return the first 16 hex digits of a text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of(lines: Iterable[bytes]) -> str:
    """Return the first 16 hex digits of the sha256 of all lines together, a candidate set's digest."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()[:16]


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines to a gzip file, atomically; equal lines give equal bytes."""
    # Neither file name nor time goes into the header, so that equal pools are equal bytes.
    with atomic_file(path) as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        file.writelines(lines)


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a gzip file."""
    with gzip.open(path, "rb") as file, io.BufferedReader(file, _CHUNK) as lines:
        yield from lines


def read_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (64-bit hash of the text, text) for each line of a `texts.jsonl.gz`."""
    for line in read_lines(path):
        text = json.loads(line)["text"]
        yield int(_text_hash(text), 16), text
