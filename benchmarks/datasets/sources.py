"""Datasets: queries, judgements and passages, from wherever the field keeps them.

An ir_datasets id, a folder in the BEIR layout, a file of candidates, or the built-in collection. A passage's
text is its title and its text joined by a space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmarks.candidates.file import candidates_stem, read_candidates
from benchmarks.datasets.exclusion import NONE, default_rule, excluded_passages
from benchmarks.datasets.formats.collection import (
    find_part,
    has_part,
    read_fields,
    read_passages,
    read_queries,
)
from benchmarks.datasets.qrels_files import beside_of, find_qrels
from benchmarks.datasets.readers import read_qrels
from rerankers.errors import InputError, UnknownNameError
from rerankers.files.fingerprints import fields_digest
from rerankers.files.paths import existing_path, user_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

BUNDLED = Path(__file__).parents[1] / "bundled"


class DatasetSpec(BaseModel):
    """Which dataset to use. A plain string stands for `id`, or for the folder or candidates file it names.

    Attributes:
        id: an ir_datasets id such as `msmarco-passage/trec-dl-2019/judged`, or `bundled`.
        folder: a folder with `corpus.jsonl`, `queries.jsonl` and perhaps `qrels/*.tsv`, or as tables.
        split: which file of `qrels/` to use, without its suffix; not needed if there is one, or a `test`.
        candidates: a file of queries with their hits; see `benchmarks.candidates.file`.
        qrels: judgements for `candidates`, in TREC's or BEIR's format, or JSON lines.
        query_field: the field of an ir_datasets query that is its text, such as `gpt4_reason` of BRIGHT; by
            default ir_datasets' choice, or `text`.
        exclude: passages that leave the candidate set before it is frozen: `identical-id` (a passage with
            the query's id), `negative-grades`, `none`, or a file with two columns, query id and doc id. By
            default `negative-grades` for `bright/...`, `identical-id` for ArguAna and Quora (of BEIR and
            NanoBEIR, and folders of these names), and `none` for others.
        instruction: what passages are to be judged by, for rerankers that read an instruction and are given
            none of their own, such as Qwen3-Reranker; recorded with their results.
        name: how tables call the dataset; by default what it was opened by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str | None = Field(default=None, min_length=1)
    folder: str | None = Field(default=None, min_length=1)
    split: str | None = Field(default=None, min_length=1)
    candidates: str | None = Field(default=None, min_length=1)
    qrels: str | None = Field(default=None, min_length=1)
    query_field: str | None = Field(default=None, min_length=1)
    exclude: str | None = Field(default=None, min_length=1)
    instruction: str | None = Field(default=None, min_length=1)
    name: str | None = Field(default=None, min_length=1)

    @property
    def exclusion(self) -> str | None:
        """The rule of exclusion in force; None if there is none, and nobody chose that."""
        return self.exclude or default_rule(self.id, None if self.folder is None else Path(self.folder))

    def identity(self) -> dict[str, Any]:
        """Return the options that define a candidate set;
        options that came later count where they are used.
        """
        values = self.model_dump(exclude={"name", "query_field", "exclude", "instruction"})
        if self.query_field is not None:
            values["query_field"] = self.query_field
        if self.exclusion not in (None, NONE):
            values["exclude"] = self.exclusion
        return values

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if candidates_stem(Path(value)) is not None:
            return {"candidates": value}
        path = None if value in ("", "bundled") else existing_path(value)
        is_path = value.startswith((".", "/", "~")) or (path is not None and path.is_dir())
        return {"folder": value} if is_path else {"id": value}

    @model_validator(mode="after")
    def _is_one_kind(self) -> DatasetSpec:
        if sum(kind is not None for kind in (self.id, self.folder, self.candidates)) != 1:
            raise ValueError("a dataset has exactly one of id, folder and candidates")
        if self.qrels is not None and self.candidates is None:
            raise ValueError("qrels goes with candidates; a folder has its own in qrels/")
        if self.split is not None and self.folder is None:
            raise ValueError("split goes with folder; an ir_datasets id names its own split")
        if self.query_field is not None and self.id in (None, "bundled"):
            raise ValueError("query_field goes with an ir_datasets id")
        return self


class Dataset(ABC):
    """Queries, judgements and passages.

    Attributes:
        name: how tables call it.
        queries: text by query id, in the dataset's own order.
        qrels: grade by doc id by query id; empty if nothing is judged. Every judged query has a text.
        given: (doc id, score) best first by query id, where the dataset brings its own candidates.
        exclusion: the rule by which passages leave the candidate set, see `benchmarks.datasets.exclusion`; or
            None.
        excluded: doc ids that leave it, by query id.
        notes: sentences to print before the dataset is used.
    """

    def __init__(
        self,
        name: str,
        queries: dict[str, str],
        qrels: dict[str, dict[str, int]],
        given: dict[str, list[tuple[str, float]]] | None = None,
    ) -> None:
        self.name, self.queries, self.qrels, self.given = name, queries, qrels, given
        self.exclusion: str | None = None
        self.excluded: dict[str, frozenset[str]] = {}
        self.notes: list[str] = []

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """16 hex digits that stand for the passages: equal ones may share an index."""

    @property
    @abstractmethod
    def passage_count(self) -> int | None:
        """Return the number of passages, for estimates; None if that is not known beforehand."""

    @abstractmethod
    def documents(self) -> Iterator[tuple[str, str]]:
        """Every passage's doc id and text."""

    @abstractmethod
    def texts(self, doc_ids: Sequence[str]) -> dict[str, str]:
        """Texts by doc id.

        Raises:
            InputError: the dataset lacks one of them.
        """

    def scored_documents(self, queries: Collection[str]) -> dict[str, list[tuple[str, float]]]:
        """Return the official first-stage ranking of some queries: (doc id, score), best first.

        Raises:
            InputError: the dataset has none.
        """
        raise InputError(f"{self.name} has no scoreddocs. Use bm25, dense or run as first stage")

    def fields(self, name: str) -> dict[str, str]:
        """Return one field of every passage that has it, such as its title, by doc id.

        Raises:
            InputError: no passage has such a field.
        """
        raise InputError(f"{self.name} has no {name!r} of its passages. Name a folder or an ir_datasets id")


class _FileDataset(Dataset):
    """A dataset whose passages are read from a file, once, and held in memory.

    A collection of many millions of passages is better named by its ir_datasets id: its texts stay on disk.
    """

    def __init__(
        self,
        name: str,
        queries: dict[str, str],
        qrels: dict[str, dict[str, int]],
        *,
        corpus: Path,
        passages: dict[str, str] | None = None,
        given: dict[str, list[tuple[str, float]]] | None = None,
    ) -> None:
        super().__init__(name, queries, qrels, given)
        self._corpus = corpus
        self._given_passages = passages

    @cached_property
    def _passages(self) -> dict[str, str]:
        return read_passages(self._corpus) if self._given_passages is None else self._given_passages

    @cached_property
    def fingerprint(self) -> str:
        return fields_digest(field for passage in self._passages.items() for field in passage)[:16]

    @property
    def passage_count(self) -> int:
        return len(self._passages)

    def documents(self) -> Iterator[tuple[str, str]]:
        yield from self._passages.items()

    def texts(self, doc_ids: Sequence[str]) -> dict[str, str]:
        for doc_id in doc_ids:
            if doc_id not in self._passages:
                raise InputError.at(self._corpus, None, f"passage {doc_id!r} is not in here; add it")
        return {doc_id: self._passages[doc_id] for doc_id in doc_ids}

    def fields(self, name: str) -> dict[str, str]:
        return super().fields(name) if self._given_passages is not None else read_fields(self._corpus, name)


def open_dataset(spec: DatasetSpec | str, *, needs_queries: bool = True) -> Dataset:
    """Open a dataset; passages are read when they are first asked for.

    Args:
        spec: the dataset.
        needs_queries: False accepts a folder that holds passages alone.

    Raises:
        InputError: a file is missing or wrong, or the name is unknown.
    """
    if isinstance(spec, str):
        spec = DatasetSpec.model_validate(spec)
    dataset = _open(spec, needs_queries)
    dataset.exclusion = spec.exclusion or dataset.exclusion
    if dataset.exclusion == NONE:
        dataset.excluded = {}
    commented = sum(query_id.startswith("#") for query_id in dataset.queries)
    if commented:
        dataset.notes.append(
            f"{commented} query ids begin with #, and so do comments in TREC files: such lines of judgements "
            "and runs are not read"
        )
    for query_id, doc_ids in excluded_passages(spec.exclusion, dataset.queries, dataset.qrels).items():
        dataset.excluded[query_id] = doc_ids | dataset.excluded.get(query_id, frozenset())
    return dataset


def _open(spec: DatasetSpec, needs_queries: bool) -> Dataset:
    if spec.candidates is not None:
        return _open_candidates(user_path(spec.candidates), spec)
    if spec.folder is not None:
        folder = user_path(spec.folder)
        return _open_folder(folder, spec.name or folder.resolve().name, spec.split, needs_queries)
    assert spec.id is not None  # noqa: S101 - the specification's own validator
    if spec.id == "bundled":
        return _open_folder(BUNDLED, spec.name or "bundled", "test")
    from benchmarks.datasets.ir_collection import IrDataset

    return IrDataset(spec.name or spec.id, spec.id, spec.query_field)


def read_judgements(spec: DatasetSpec) -> dict[str, dict[str, int]]:
    """Read a dataset's judgements alone; none where they come from a pipe, which can be read once only.

    Raises:
        InputError: they are missing or wrong, or the name is unknown.
    """
    if spec.candidates is None and spec.folder is None:
        return open_dataset(spec).qrels
    path = None if spec.qrels is None else user_path(spec.qrels)
    if spec.folder is not None:
        path = find_qrels(user_path(spec.folder), spec.split)
    return {} if path is None or path.is_fifo() else read_qrels(path)


def dataset_ids() -> list[str]:
    """`bundled` and every id that ir_datasets knows."""
    import ir_datasets

    return ["bundled", *sorted(ir_datasets.registry)]


def unknown_dataset(dataset_id: str) -> InputError:
    """Return the error for an id that ir_datasets does not have, with near misses."""
    import difflib

    known = dataset_ids()
    if difflib.get_close_matches(dataset_id, known, n=1, cutoff=0.5):
        return UnknownNameError("dataset", dataset_id, known)
    reason = "neither a folder here nor an ir_datasets id; see rerankbench list datasets"
    return InputError(f"unknown dataset {dataset_id!r}: {reason}")


def _open_folder(folder: Path, name: str, split: str | None, needs_queries: bool = True) -> Dataset:
    if not folder.is_dir():
        raise InputError.at(folder, None, "no such folder; check the path")
    corpus = find_part(folder, "corpus")
    if not needs_queries and not has_part(folder, "queries"):
        return _FileDataset(name, {}, {}, corpus=corpus)
    queries_file = find_part(folder, "queries")
    queries = read_queries(queries_file)
    qrels_file = find_qrels(folder, split)
    qrels = {} if qrels_file is None else _qrels_of(queries, qrels_file, queries_file)
    return _FileDataset(name, queries, qrels, corpus=corpus)


def _qrels_of(queries: dict[str, str], qrels_file: Path, queries_file: Path) -> dict[str, dict[str, int]]:
    qrels = read_qrels(qrels_file)
    for query_id in qrels:
        if query_id not in queries:
            # Leaving it out would raise every mean over the judged queries.
            reason = f"query {query_id!r} is judged, but {queries_file} does not have it; add it there"
            raise InputError.at(qrels_file, None, reason)
    return qrels


def _open_candidates(path: Path, spec: DatasetSpec) -> Dataset:
    queries, passages, given, _ = read_candidates(path)
    qrels = {} if spec.qrels is None else _qrels_of(queries, user_path(spec.qrels), path)
    name = spec.name or candidates_stem(path) or path.name
    dataset = _FileDataset(name, queries, qrels, corpus=path, passages=passages, given=given)
    beside = [] if spec.qrels else beside_of(path.parent)
    if beside:
        dataset.notes.append(
            f"{', '.join(file.name for file in beside)} lies beside {path.name} and is not read. Name it as "
            "qrels of the dataset if it judges these queries."
        )
    return dataset
