"""The frozen candidate pool: which passages every reranker gets for which query, once and for all.

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

import gzip
import hashlib
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmarks.candidates.scratch import LateTexts, MissingTextError, ScratchCandidates, ScratchTexts
from benchmarks.evaluation.judged import unjudged_warning
from benchmarks.measuring.progress import say
from rerankers.errors import DamagedError, StoreError
from rerankers.files.writing import atomic_file, replace_file
from rerankers.interface import Candidate, RerankRequest
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from benchmarks.datasets.dataset import Dataset
    from benchmarks.datasets.specs import DatasetSpec
    from benchmarks.first_stages.specs import FirstStageSpec

FORMAT_VERSION = 1


_CHUNK = 1 << 18  # bytes decompressed at once
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class _Row(BaseModel):
    """A line of `pool.jsonl.gz`."""

    model_config = ConfigDict(cache_strings="keys")  # ids and hashes hardly ever come twice

    query_id: str
    query: str
    qrels: dict[str, int] | None
    candidates: list[tuple[str, float, str]]
    instruction: str | None = None


class _About(BaseModel):
    """`about.json`."""

    format_version: int
    dataset: str
    first_stage: dict[str, Any]
    depth: int
    unjudged: int = 0
    retrieve_seconds: dict[str, float]
    fetch_seconds: dict[str, float]


@dataclass(frozen=True)
class Pool:
    """Queries with their candidates and grades, named by a digest of all of it.

    Attributes:
        digest: 16 hex digits; two pools with the same digest are the same to every reranker and measure.
        dataset: name of the dataset.
        first_stage: what retrieved the candidates, in JSON values.
        depth: most candidates a query has.
        queries: text by query id, in the dataset's order.
        qrels: grade by doc id by query id; empty for a dataset without judgements.
        candidates: best first, by query id; every query has an entry, perhaps an empty one. They are read
            when asked for, so that memory does not grow with their number.
        unjudged: how many of the dataset's queries were left out because nobody judged them.
        retrieve_seconds: what the first stage took, by query id; empty where nobody measured it.
        fetch_seconds: what looking up the texts took, by query id.
        instructions: what the passages of a query are to be judged by, for queries with one of their own.
    """

    digest: str
    dataset: str
    first_stage: dict[str, Any]
    depth: int
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    candidates: ScratchCandidates
    unjudged: int
    retrieve_seconds: dict[str, float]
    fetch_seconds: dict[str, float]
    instructions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def freeze(
        cls,
        *,
        dataset: str,
        first_stage: Mapping[str, Any],
        depth: int,
        queries: Mapping[str, str],
        qrels: Mapping[str, Mapping[str, int]],
        candidates: Mapping[str, Iterable[Candidate]],
        unjudged: int = 0,
        retrieve_seconds: Mapping[str, float] | None = None,
        fetch_seconds: Mapping[str, float] | None = None,
        instructions: Mapping[str, str] | None = None,
    ) -> Pool:
        """Make a pool and compute its digest; queries that `candidates` lacks get none."""
        frozen = ScratchCandidates((query_id, candidates.get(query_id, ())) for query_id in queries)
        grades = {query_id: dict(qrels[query_id]) for query_id in queries if query_id in qrels}
        stated = {query_id: text for query_id, text in (instructions or {}).items() if query_id in queries}
        return cls(
            digest=_digest(_lines(queries, grades, frozen, stated)),
            dataset=dataset,
            first_stage=dict(first_stage),
            depth=depth,
            queries=dict(queries),
            qrels=grades,
            candidates=frozen,
            unjudged=unjudged,
            retrieve_seconds=dict(retrieve_seconds or {}),
            fetch_seconds=dict(fetch_seconds or {}),
            instructions=stated,
        )

    def requests(self, instruction: str | None = None) -> Sequence[RerankRequest]:
        """Return one request per query, in order, queries without candidates included; made when asked for.

        Args:
            instruction: what every request says that passages are to be judged by, but for those of queries
                with an instruction of their own.
        """
        return _Requests(self, instruction)

    def save(self, pools_folder: Path, store_text: bool = True) -> Path:
        """Write the pool to `pools_folder/<digest>` and return that folder.

        The folder appears complete or not at all. One that is there already is kept as it is, with the
        timings of its first writer; texts that it lacks are added if `store_text` asks for them. A damaged
        one is replaced. One process at a time may write into a result folder (`rerankers.files.folder_lock`).

        Raises:
            StoreError: the pool was read without its texts, so that it cannot be written again; or the disk
                is full or refuses to write.
        """
        folder = pools_folder / self.digest
        if _digest(self._lines()) != self.digest:
            raise StoreError(f"pool {self.digest} was read without its texts; copy its folder instead")
        try:
            self._write(folder, store_text)
        except OSError as error:
            raise StoreError(
                f"{folder}: cannot write ({error.strerror}); make room, then run again"
            ) from error
        return folder

    def _lines(self) -> Iterator[bytes]:
        return _lines(self.queries, self.qrels, self.candidates, self.instructions)

    def _write(self, folder: Path, store_text: bool) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{self.digest}-") as scratch:
            new = Path(scratch) / self.digest
            new.mkdir()
            is_damaged = folder.exists() and not is_whole(folder)
            store_text = store_text or (is_damaged and (folder / "texts.jsonl.gz").exists())
            if store_text and (is_damaged or not (folder / "texts.jsonl.gz").exists()):
                _write(new / "texts.jsonl.gz", self._text_lines())
                if folder.exists() and not is_damaged:
                    (new / "texts.jsonl.gz").replace(folder / "texts.jsonl.gz")
            if folder.exists() and not is_damaged:
                return
            _write(new / "pool.jsonl.gz", self._lines())
            about = {
                "format_version": FORMAT_VERSION,
                "dataset": self.dataset,
                "first_stage": self.first_stage,
                "depth": self.depth,
                "unjudged": self.unjudged,
                "retrieve_seconds": self.retrieve_seconds,
                "fetch_seconds": self.fetch_seconds,
            }
            content = (_whole_about(folder) if is_damaged else None) or json.dumps(
                about, indent=1, ensure_ascii=False
            )
            replace_file(new / "about.json", content)
            if is_damaged:
                folder.rename(Path(scratch) / "damaged")
            try:
                new.rename(folder)
            except OSError:
                if not folder.exists():  # otherwise another process was faster, with the same pool
                    raise

    def _text_lines(self) -> Iterator[bytes]:
        seen: set[bytes] = set()
        for candidates in self.candidates.values():
            for candidate in candidates:
                line = _json({"doc_id": candidate.doc_id, "text": candidate.text})
                known = hashlib.sha256(line).digest()[:12]  # of a passage, instead of all of it
                if known not in seen:
                    seen.add(known)
                    yield line


class _Requests(Sequence[RerankRequest]):
    """A pool's requests; each is read when it is its turn."""

    def __init__(self, pool: Pool, instruction: str | None) -> None:
        self._pool, self._ids, self._instruction = pool, list(pool.queries), instruction

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, place: int) -> RerankRequest: ...

    @overload
    def __getitem__(self, place: slice) -> list[RerankRequest]: ...

    def __getitem__(self, place: int | slice) -> RerankRequest | list[RerankRequest]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        query_id = self._ids[place]
        candidates = self._pool.candidates[query_id]
        instruction = self._pool.instructions.get(query_id, self._instruction)
        return RerankRequest(query_id, self._pool.queries[query_id], candidates, instruction)


def load_pool(folder: Path, late_texts: bool = False) -> Pool:
    """Read a pool and verify it; texts are "" when it was stored without them.

    Args:
        folder: of the pool.
        late_texts: look up texts when they are asked for. Reading the pool takes less time, reading a query's
            candidates more.

    Raises:
        DamagedError: a file is missing, damaged, or not what the digest in the folder's name promises.
        StoreError: it was written by a newer version.
    """
    remedy = "run the same experiment again to build it anew"
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    instructions: dict[str, str] = {}

    def rows() -> Iterator[tuple[str, tuple[str, ...], tuple[float, ...], bytes]]:
        for row in map(_Row.model_validate_json, _read(folder / "pool.jsonl.gz")):
            queries[row.query_id] = row.query
            if row.qrels is not None:
                qrels[row.query_id] = row.qrels
            if row.instruction is not None:
                instructions[row.query_id] = row.instruction
            doc_ids, scores, hashes = zip(*row.candidates, strict=True) if row.candidates else ((), (), ())
            yield row.query_id, doc_ids, scores, bytes.fromhex("".join(hashes))

    try:
        about = _About.model_validate_json((folder / "about.json").read_bytes())
        if about.format_version != FORMAT_VERSION:
            raise StoreError(
                f"{folder}: unknown format of a candidate pool; read it with a newer rerankbench"
            )
        digest = _digest(_read(folder / "pool.jsonl.gz"))
        if digest != folder.resolve().name:
            raise DamagedError(
                f"{folder}: the candidate pool was changed, its digest is now {digest}; {remedy}"
            )
        stored = (folder / "texts.jsonl.gz").exists()
        texts = ScratchTexts(_read_texts(folder)) if stored else None
        late = LateTexts(rows(), texts)
        candidates = late if late_texts else ScratchCandidates(late.items())
    except MissingTextError as error:
        raise DamagedError(f"{folder}: the text of {error} was changed or lost; {remedy}") from error
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise DamagedError(f"{folder}: the candidate pool cannot be read ({reason}); {remedy}") from error
    return Pool(
        digest=digest,
        dataset=about.dataset,
        first_stage=about.first_stage,
        depth=about.depth,
        queries=queries,
        qrels=qrels,
        candidates=candidates,
        unjudged=about.unjudged,
        retrieve_seconds=about.retrieve_seconds,
        fetch_seconds=about.fetch_seconds,
        instructions=instructions,
    )


def remove_leftovers(pools_folder: Path) -> None:
    """Remove what a killed process left half written or half removed; nobody else may be writing there."""
    for left in pools_folder.glob(".*-*/"):
        shutil.rmtree(left, ignore_errors=True)
    for scratch in pools_folder.glob(".*.new"):
        scratch.unlink(missing_ok=True)


def is_whole(folder: Path) -> bool:
    """Return whether a pool can be read and is what its digest promises."""
    try:
        load_pool(folder)
    except DamagedError:
        return False
    return True


def _whole_about(folder: Path) -> bytes | None:
    """Return the `about.json` of a damaged pool, whose times its first writer measured, if it can be read."""
    try:
        content = (folder / "about.json").read_bytes()
        _About.model_validate_json(content)
    except (OSError, ValueError):
        return None
    return content


def frozen_qrels(folder: Path) -> dict[str, dict[str, int]]:
    """Return the judgements of a stored candidate set, without reading its texts.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        rows = map(_Row.model_validate_json, _read(folder / "pool.jsonl.gz"))
        return {row.query_id: row.qrels for row in rows if row.qrels is not None}
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{folder}: the candidate set cannot be read ({reason})") from error


def read_index(pools_folder: Path) -> dict[str, str]:
    """Digests of the pools in a folder by what they were planned as; none where there is no index.

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


def build_pool(
    dataset_spec: DatasetSpec | str, first_stage_spec: FirstStageSpec, depth: int, limit: int | None = None
) -> Pool:
    """Retrieve candidates for a dataset's queries and freeze them.

    With judgements, the queries are the judged ones; a judged query for which the first stage finds nothing
    stays, without candidates. Without judgements, they are all queries. `limit` keeps the first ones.

    Raises:
        InputError: the dataset or the first stage is wrong, or they do not fit together.
    """
    from benchmarks.datasets.sources import open_dataset
    from benchmarks.first_stages.retrieval import retrieve

    dataset = open_dataset(dataset_spec)
    for note in dataset.notes:
        say(f"{dataset.name}: {note}")
    asked = [query_id for query_id in dataset.queries if not dataset.qrels or query_id in dataset.qrels]
    queries = {query_id: dataset.queries[query_id] for query_id in asked[:limit]}
    found = retrieve(first_stage_spec, dataset, queries, depth)
    signs = _signs(dataset, found.hits)
    warnings = [*dataset.notes, *signs]
    clock = StageClock()
    fetch_seconds: dict[str, float] = {}

    def fetched() -> Iterator[tuple[str, list[Candidate]]]:
        for query_id in queries:
            hits = found.hits.get(query_id, [])
            started = clock.now()
            texts = dataset.texts([doc_id for doc_id, _ in hits])
            fetch_seconds[query_id] = clock.now() - started
            yield query_id, [Candidate(query_id, doc_id, texts[doc_id], score) for doc_id, score in hits]

    candidates = ScratchCandidates(fetched())
    pool = Pool.freeze(
        dataset=dataset.name,
        first_stage={**found.described, "warnings": warnings} if warnings else found.described,
        depth=depth,
        queries=queries,
        qrels=dataset.qrels,
        candidates=candidates,
        unjudged=len(dataset.queries) - len(asked),
        retrieve_seconds=found.seconds,
        fetch_seconds=fetch_seconds,
        instructions=dataset.instructions,
    )
    unjudged = unjudged_warning(pool)
    for sentence in [*signs, *([] if unjudged is None else [unjudged])]:
        say(f"{dataset.name}: {sentence}")
    return pool


def _signs(dataset: Dataset, hits: Mapping[str, Sequence[tuple[str, float]]]) -> list[str]:
    """Return the signs that a dataset without a rule of exclusion needs one."""
    from benchmarks.datasets.exclusion import suspicions

    listed = ((query_id, (doc_id for doc_id, _ in found)) for query_id, found in hits.items())
    return [] if dataset.exclusion else suspicions(listed, dataset.qrels)


def _lines(
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    candidates: ScratchCandidates,
    instructions: Mapping[str, str],
) -> Iterator[bytes]:
    for query_id, query in queries.items():
        grades = dict(sorted(qrels[query_id].items())) if query_id in qrels else None
        hits = [
            [candidate.doc_id, float(candidate.score), _text_hash(candidate.text)]
            for candidate in candidates[query_id]
        ]
        row = {"query_id": query_id, "query": query, "qrels": grades, "candidates": hits}
        if query_id in instructions:  # which came later: other rows stay as they were
            row["instruction"] = instructions[query_id]
        yield _json(row)


def _json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(lines: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()[:16]


def _write(path: Path, lines: Iterable[bytes]) -> None:
    # Neither file name nor time goes into the header, so that equal pools are equal bytes.
    with atomic_file(path) as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        file.writelines(lines)


def _read(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file, io.BufferedReader(file, _CHUNK) as lines:
        yield from lines


def _read_texts(folder: Path) -> Iterator[tuple[int, str]]:
    """Each text after the number that its hash writes."""
    for line in _read(folder / "texts.jsonl.gz"):
        text = json.loads(line)["text"]
        yield int(_text_hash(text), 16), text
