"""Datasets read from the user's own files: a folder, two files, or a file of candidates."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from benchmarks.candidates.file import candidates_stem, read_candidates
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.formats.collection import (
    USUAL,
    ColumnNames,
    find_part,
    has_part,
    read_fields,
    read_passages,
    read_queries,
)
from benchmarks.datasets.qrels_files import beside_of, find_qrels
from benchmarks.datasets.readers import read_qrels
from rerankers.errors import InputError
from rerankers.files.fingerprints import fields_digest
from rerankers.files.paths import user_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.datasets.specs import DatasetSpec


class FileDataset(Dataset):
    """A dataset whose passages are read from a file, once, and held in memory.

    A collection of many millions of passages is better named by its ir_datasets id: its texts stay on disk.

    Args:
        name: name of the dataset in tables.
        queries: text by query id.
        qrels: grade by doc id by query id.
        corpus: the file of passages, or of candidates.
        passages: text by doc id, where it is read already; None reads `corpus` at first use.
        given: (doc id, score), best first, by query id, of a file of candidates; else None.
        queries_file: the file of queries, for further fields; None without one.
        columns: names of the files' columns.
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
        queries_file: Path | None = None,
        columns: ColumnNames = USUAL,
    ) -> None:
        super().__init__(name, queries, qrels, given)
        self._corpus, self._queries_file, self._columns = corpus, queries_file, columns
        self._given_passages = passages

    @cached_property
    def _passages(self) -> dict[str, str]:
        """Text by doc id, given at construction or else read from the file at first use."""
        if self._given_passages is not None:
            return self._given_passages
        return read_passages(self._corpus, self._columns)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a digest of the passages' ids and texts."""
        return fields_digest(field for passage in self._passages.items() for field in passage)[:16]

    @property
    def passage_count(self) -> int:
        """The number of passages."""
        return len(self._passages)

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield (doc id, text) of every passage, in the file's order."""
        yield from self._passages.items()

    def texts(self, doc_ids: Sequence[str]) -> dict[str, str]:
        """Look up passages: return text by doc id for the given doc ids.

        Raises:
            InputError: the file lacks a passage.
        """
        for doc_id in doc_ids:
            if doc_id not in self._passages:
                raise InputError.at(self._corpus, None, f"passage {doc_id!r} is not in here; add it")
        return {doc_id: self._passages[doc_id] for doc_id in doc_ids}

    def fields(self, name: str) -> dict[str, str]:
        """Return the named field of every passage that has it, by doc id, read from the file of passages.

        Raises:
            InputError: no passage has such a field, or the passages come from a file of candidates.
        """
        if self._given_passages is not None:
            return super().fields(name)
        return read_fields(self._corpus, name, self._columns)

    def query_fields(self, name: str) -> dict[str, str]:
        """Return the named field of every query that has it, by query id, read from the file of queries.

        Raises:
            InputError: no query has such a field, or there is no file of queries.
        """
        if self._queries_file is None:
            return super().query_fields(name)
        return read_fields(self._queries_file, name, self._columns, "queries")


def open_files(documents: Path, queries_file: Path, spec: DatasetSpec) -> Dataset:
    """Open a dataset of a file of passages and a file of queries; passages are read at first use.

    Args:
        documents: the file of passages.
        queries_file: the file of queries.
        spec: names, column names and the file of judgements, if any.

    Raises:
        InputError: a file is missing or wrong.
    """
    names = spec.column_names
    queries = read_queries(queries_file, names)
    qrels = {} if spec.qrels_file is None else qrels_of(queries, user_path(spec.qrels_file), queries_file)
    name = spec.name or documents.name.partition(".")[0]
    if not documents.exists():
        raise InputError.at(documents, None, "no such file; check the path")
    return FileDataset(name, queries, qrels, corpus=documents, queries_file=queries_file, columns=names)


def open_folder(
    folder: Path,
    name: str,
    split: str | None,
    needs_queries: bool = True,
    columns: ColumnNames = USUAL,
    qrels_file: Path | None = None,
) -> Dataset:
    """Open a folder of passages, queries and perhaps judgements; passages are read at first use.

    Args:
        folder: where they are.
        name: name of the dataset in tables.
        split: which of the folder's judgements to read.
        needs_queries: False accepts a folder without queries.
        columns: names of the columns of its files.
        qrels_file: judgements to read in place of the folder's own.

    Raises:
        InputError: a part is missing or wrong.
    """
    if not folder.is_dir():
        raise InputError.at(folder, None, "no such folder; check the path")
    corpus = find_part(folder, "corpus")
    if not needs_queries and not has_part(folder, "queries"):
        return FileDataset(name, {}, {}, corpus=corpus, columns=columns)
    queries_file = find_part(folder, "queries")
    queries = read_queries(queries_file, columns)
    qrels_file = qrels_file or find_qrels(folder, split)
    qrels = {} if qrels_file is None else qrels_of(queries, qrels_file, queries_file)
    return FileDataset(name, queries, qrels, corpus=corpus, queries_file=queries_file, columns=columns)


def qrels_of(
    queries: Mapping[str, str], qrels_file: Path, queries_file: Path | str
) -> dict[str, dict[str, int]]:
    """Read a file of judgements, grade by doc id by query id, and check that each judged query has a text.

    Args:
        queries: text by query id.
        qrels_file: the judgements.
        queries_file: where the queries come from, for the error message.

    Raises:
        InputError: the file is wrong, or judges a query that is not in `queries`.
    """
    qrels = read_qrels(qrels_file)
    for query_id in qrels:
        if query_id not in queries:
            # Leaving it out would raise every mean over the judged queries.
            reason = f"query {query_id!r} is judged, but {queries_file} does not have it; add it there"
            raise InputError.at(qrels_file, None, reason)
    return qrels


def open_candidates(path: Path, spec: DatasetSpec) -> Dataset:
    """Open a dataset that is a file of queries with their candidates, which become `Dataset.given`.

    Files that look like judgements beside it are named in the dataset's notes, and not read.

    Args:
        path: the file of candidates.
        spec: name and file of judgements, if any.

    Raises:
        InputError: a file is missing or wrong.
    """
    queries, passages, given, _ = read_candidates(path)
    qrels = {} if spec.qrels_file is None else qrels_of(queries, user_path(spec.qrels_file), path)
    name = spec.name or candidates_stem(path) or path.name
    dataset = FileDataset(name, queries, qrels, corpus=path, passages=passages, given=given)
    beside = [] if spec.qrels_file else beside_of(path.parent)
    if beside:
        dataset.notes.append(
            f"{', '.join(file.name for file in beside)} lies beside {path.name} and is not read. Name it as "
            "qrels of the dataset if it judges these queries."
        )
    return dataset
