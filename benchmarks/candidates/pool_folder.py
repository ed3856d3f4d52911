"""Folders of frozen candidate pools: written whole or not at all, and verified when they are read.

A pool lives in `pools/<digest>/`, three files:

- `pool.jsonl.gz`: a line a query: its id and text, its grades, its instruction if it has one, and its
  candidates as `[doc_id, score, hash of the text]`, best first; equal scores of a run as
  `benchmarks.evaluation.ties` puts them. The digest is the sha256 of these lines.
- `texts.jsonl.gz`: a line a passage; missing where the licence forbids passing texts on.
- `about.json`: where the pool came from and what retrieval took; not part of the digest.

A pool therefore verifies itself when it is read: ids, scores, order, queries and grades against the digest,
and each text against its hash.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from benchmarks.candidates.frozen import Pool
from benchmarks.candidates.pool_lines import (
    Row,
    digest_of,
    pool_lines,
    read_lines,
    read_texts,
    text_lines,
    write_lines,
)
from benchmarks.candidates.scratch import LateTexts, MissingTextError, ScratchCandidates, ScratchTexts
from rerankers.errors import DamagedError, StoreError
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT_VERSION = 1

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class _About(BaseModel):
    """The content of `about.json`: a candidate set's origin, and its retrieval times by query id."""

    format_version: int
    dataset: str
    first_stage: dict[str, Any]
    depth: int
    unjudged: int = 0
    retrieve_seconds: dict[str, float]
    fetch_seconds: dict[str, float]


def save_pool(pool: Pool, pools_folder: Path, store_text: bool = True) -> Path:
    """Write a pool to `pools_folder/<digest>` and return that folder.

    The folder appears complete or not at all. One that is there already is kept as it is, with the
    timings of its first writer; texts that it lacks are added if `store_text` asks for them, and times of
    the first stage if it has none. A damaged one is replaced. One process at a time may write into a result
    folder (`rerankers.files.folder_lock`).

    Raises:
        StoreError: the pool was read without its texts, so that it cannot be written again; or the disk
            is full or refuses to write.
    """
    folder = pools_folder / pool.digest
    if digest_of(_lines(pool)) != pool.digest:
        raise StoreError(f"pool {pool.digest} was read without its texts; copy its folder instead")
    try:
        _write(pool, folder, store_text)
    except OSError as error:
        raise StoreError(f"{folder}: cannot write ({error.strerror}); make room, then run again") from error
    return folder


def _write(pool: Pool, folder: Path, store_text: bool) -> None:
    """Write a candidate set's files into `folder`.

    A whole folder is kept and gets only missing texts and times; a damaged one is replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{pool.digest}-") as scratch:
        new = Path(scratch) / pool.digest
        new.mkdir()
        is_damaged = folder.exists() and not is_whole(folder)
        is_kept = folder.exists() and not is_damaged
        has_texts = (folder / "texts.jsonl.gz").exists()
        if (is_damaged and has_texts) or (store_text and not (is_kept and has_texts)):
            write_lines(new / "texts.jsonl.gz", text_lines(pool.candidates))
            if is_kept:
                (new / "texts.jsonl.gz").replace(folder / "texts.jsonl.gz")
        if is_kept:
            if pool.retrieve_seconds and not _read_about(folder).retrieve_seconds:
                replace_file(folder / "about.json", _about(pool))
            return
        write_lines(new / "pool.jsonl.gz", _lines(pool))
        about = (_whole_about(folder) if is_damaged else None) or _about(pool)
        replace_file(new / "about.json", about)
        if is_damaged:
            folder.rename(Path(scratch) / "damaged")
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another process was faster, with the same pool
                raise


def _lines(pool: Pool) -> Iterator[bytes]:
    """Yield the JSON lines of `pool.jsonl.gz` for a candidate set."""
    return pool_lines(pool.queries, pool.qrels, pool.candidates, pool.instructions)


def _read_about(folder: Path) -> _About:
    """Read a candidate set's `about.json`; raise an OSError or a ValueError if it is missing or invalid."""
    return _About.model_validate_json((folder / "about.json").read_bytes())


def _about(pool: Pool) -> str:
    """Return the JSON text of a candidate set's `about.json`."""
    about = {
        "format_version": FORMAT_VERSION,
        "dataset": pool.dataset,
        "first_stage": pool.first_stage,
        "depth": pool.depth,
        "unjudged": pool.unjudged,
        "retrieve_seconds": pool.retrieve_seconds,
        "fetch_seconds": pool.fetch_seconds,
    }
    return json.dumps(about, indent=1, ensure_ascii=False)


def load_pool(folder: Path, late_texts: bool = False) -> Pool:
    """Read a candidate set from its folder and verify it against its digest.

    Texts are "" if the set was stored without them.

    Args:
        folder: of the pool.
        late_texts: look up texts when they are asked for. Reading the pool takes less time, reading a query's
            candidates more.

    Raises:
        DamagedError: a file is missing, damaged, or not what the digest in the folder's name promises.
        StoreError: it was written by a newer version.
    """
    remedy = "run the same experiment again to build it anew"
    try:
        about = _read_about(folder)
        if about.format_version != FORMAT_VERSION:
            raise StoreError(
                f"{folder}: unknown format of a candidate pool; read it with a newer rerankbench"
            )
        digest = digest_of(read_lines(folder / "pool.jsonl.gz"))
        if digest != folder.resolve().name:
            raise DamagedError(
                f"{folder}: the candidate pool was changed, its digest is now {digest}; {remedy}"
            )
        has_texts = (folder / "texts.jsonl.gz").exists()
        texts = ScratchTexts(read_texts(folder / "texts.jsonl.gz")) if has_texts else None
        read = _read_queries(folder / "pool.jsonl.gz", texts)
        candidates = read.candidates if late_texts else ScratchCandidates(read.candidates.items())
    except MissingTextError as error:
        raise DamagedError(f"{folder}: the text of {error} was changed or lost; {remedy}") from error
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise DamagedError(f"{folder}: the candidate pool cannot be read ({reason}); {remedy}") from error
    return Pool(
        digest=digest,
        queries=read.queries,
        qrels=read.qrels,
        instructions=read.instructions,
        candidates=candidates,
        **about.model_dump(exclude={"format_version"}),
    )


class _Queries(NamedTuple):
    """The parsed content of `pool.jsonl.gz`: four mappings by query id."""

    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    instructions: dict[str, str]
    candidates: LateTexts


def _read_queries(path: Path, texts: ScratchTexts | None) -> _Queries:
    """Parse a `pool.jsonl.gz`; return texts, grades, instructions and candidates by query id.

    Candidates find their passage texts in `texts`.

    Raises:
        MissingTextError: a text is missing.
    """
    read = _Queries({}, {}, {}, LateTexts(texts))
    for row in map(Row.model_validate_json, read_lines(path)):
        read.queries[row.query_id] = row.query
        if row.qrels is not None:
            read.qrels[row.query_id] = row.qrels
        if row.instruction is not None:
            read.instructions[row.query_id] = row.instruction
        doc_ids, scores, hashes = zip(*row.candidates, strict=True) if row.candidates else ((), (), ())
        read.candidates.add(row.query_id, doc_ids, scores, bytes.fromhex("".join(hashes)))
    read.candidates.flush()
    return read


def remove_leftovers(pools_folder: Path) -> None:
    """Delete temporary folders and files of interrupted writes from a folder of candidate sets.

    No other process may be writing there.
    """
    for leftover in pools_folder.glob(".*-*/"):
        shutil.rmtree(leftover, ignore_errors=True)
    for scratch in pools_folder.glob(".*.new"):
        scratch.unlink(missing_ok=True)


def is_whole(folder: Path) -> bool:
    """Return whether a candidate set's folder can be read and matches its digest."""
    try:
        load_pool(folder)
    except DamagedError:
        return False
    return True


def _whole_about(folder: Path) -> bytes | None:
    """Return the bytes of a folder's `about.json`, or None if it is missing or invalid."""
    try:
        content = (folder / "about.json").read_bytes()
        _About.model_validate_json(content)
    except (OSError, ValueError):
        return None
    return content


def frozen_qrels(folder: Path) -> dict[str, dict[str, int]]:
    """Return a stored candidate set's grades, by doc id by query id, without reading passage texts.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        rows = map(Row.model_validate_json, read_lines(folder / "pool.jsonl.gz"))
        return {row.query_id: row.qrels for row in rows if row.qrels is not None}
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{folder}: the candidate set cannot be read ({reason})") from error


def read_index(pools_folder: Path) -> dict[str, str]:
    """Read `index.json`: a mapping from the key that a candidate set was planned under to its digest.

    Without an index the mapping is empty.

    Raises:
        StoreError: it is damaged.
    """
    path = pools_folder / "index.json"
    try:
        return TypeAdapter(dict[str, _Digest]).validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        raise StoreError(f"{path}: damaged; delete it, and run the experiment again") from error
