"""A reader of MTEB's present layout of reranking data: `corpus`, `queries`, `qrels` and `top_ranked`.

Each part is a folder of Parquet files, as the hub stores it, or of JSON lines, or one such file. `qrels` may
be called `data` or `default`, or be tab-separated. A path `FOLDER/LANGUAGE` that does not exist means the
parts `FOLDER/LANGUAGE-corpus` and so on. Of several splits, `test` is read.

An `instruction` of a query stands behind its text, as MTEB puts it for models without instructions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.datasets.formats import field_names
from benchmarks.datasets.formats.labelled import Labelled
from benchmarks.datasets.formats.records import SUFFIXES, query_text, read_records, texts_of
from benchmarks.datasets.readers import read_qrels
from rerankers.errors import InputError
from rerankers.files.input_files import uncompressed_name
from rerankers.files.json_lines import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMES = {"corpus": ("corpus",), "queries": ("queries",), "qrels": ("qrels", "data", "default")}
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}$")
_DOC_ID = ("_id", "id", "corpus-id", *field_names.DOC_ID)
_QUERY_ID = ("query-id", *field_names.QUERY_ID)
_TEXT = ("text", *field_names.CONTENT)


class _Source(NamedTuple):
    """The folder that holds the parts, and the prefix of their names, such as `de-`."""

    folder: Path
    prefix: str


def read_mteb(path: Path) -> Iterator[Labelled]:
    """Yield the queries that are judged or have candidates, in the order of `queries`, with their passages.

    Raises:
        InputError: a part is missing or wrong, or names a query or a passage that another part lacks.
        MissingExtraError: a part is Parquet, and pyarrow is not installed.
    """
    source = _Source(path, "") if path.is_dir() else _Source(path.parent, f"{path.name}-")
    ranked = _top_ranked(source)
    qrels = _qrels(source)
    corpus = _corpus(source, {doc_id for _, doc_ids in ranked.values() for doc_id in doc_ids})
    queries = _queries(source)
    for query_id, (row, doc_ids) in ranked.items():
        if query_id not in queries:
            row.fail(f"query {query_id!r} is not among the queries; add it there")
        for doc_id in doc_ids:
            if doc_id not in corpus:
                row.fail(f"passage {doc_id!r} is not in the corpus; add it there")
    for query_id in qrels:
        if query_id not in queries:
            raise InputError.at(path, None, f"query {query_id!r} is judged and not among the queries; add it")
    for query_id, text in queries.items():
        if query_id in ranked or query_id in qrels:
            doc_ids = ranked[query_id][1] if query_id in ranked else []
            passages = {doc_id: corpus[doc_id] for doc_id in doc_ids}
            yield Labelled(query_id, text, passages, qrels.get(query_id, {}))


def _top_ranked(source: _Source) -> dict[str, tuple[Row, list[str]]]:
    """Read the candidates: (row, doc ids) by query id."""
    ranked: dict[str, tuple[Row, list[str]]] = {}
    for row in _rows(source, "top_ranked"):
        values = row.get(row.first_key(("corpus-ids", "corpus_ids", "doc_ids")))
        if not isinstance(values, list):
            row.fail(f"'corpus-ids' must be a list of ids, not {type(values).__name__}")
        doc_ids = [
            Row(row.path, row.line, {"corpus-ids": value}).identifier("corpus-ids") for value in values
        ]
        row.add(ranked, "query", row.identifier(row.first_key(_QUERY_ID)), (row, doc_ids))
    return ranked


def _qrels(source: _Source) -> dict[str, dict[str, int]]:
    """Read the judgements: grade by doc id by query id."""
    files = _files(source, "qrels")
    if uncompressed_name(files[0]).endswith((".tsv", ".txt")):
        return read_qrels(files[0])
    qrels: dict[str, dict[str, int]] = {}
    for row in _rows(source, "qrels"):
        query_id, doc_id = row.identifier(row.first_key(_QUERY_ID)), row.identifier(row.first_key(_DOC_ID))
        grade = row.number("score")
        if not grade.is_integer():
            row.fail(f"the grade {grade:g} is not a whole number; write 0, 1, 2, ...")
        row.add(qrels.setdefault(query_id, {}), "passage", doc_id, int(grade))
    return qrels


def _corpus(source: _Source, wanted: set[str]) -> dict[str, str]:
    """Read the texts of the wanted passages, by doc id; ids that the corpus lacks are left out."""
    corpus: dict[str, str] = {}
    for row in _rows(source, "corpus"):
        doc_id = row.identifier(row.first_key(_DOC_ID))
        if doc_id in wanted:
            row.add(corpus, "passage", doc_id, texts_of(row, _TEXT))
    return corpus


def _queries(source: _Source) -> dict[str, str]:
    """Read the queries: text, followed by its instruction if it has one, by query id."""
    queries: dict[str, str] = {}
    for row in _rows(source, "queries"):
        text = query_text(row, row.first_key(("text", "query")))
        instruction = row.text("instruction") if row.values.get("instruction") else ""
        row.add(queries, "query", row.identifier(row.first_key(_QUERY_ID)), f"{text} {instruction}".strip())
    return queries


def _rows(source: _Source, part: str) -> Iterator[Row]:
    """Yield the rows of all files of a part."""
    for path in _files(source, part):
        yield from read_records(path)


def _files(source: _Source, part: str) -> list[Path]:
    """Return the files of a part; of several splits those of `test`.

    Raises:
        InputError: there are none, or several splits and none is `test`.
    """
    readable = (*SUFFIXES, *((".tsv", ".txt") if part == "qrels" else ()))
    for name in _NAMES.get(part, (part,)):
        stem = f"{source.prefix}{name}"
        single = [source.folder / f"{stem}{suffix}" for suffix in readable]
        inner = sorted((source.folder / stem).rglob("*"))
        paths = [path for path in (*single, *inner) if uncompressed_name(path).endswith(readable)]
        splits: dict[str, list[Path]] = {}
        for path in (path for path in paths if path.is_file()):
            splits.setdefault(_split(path, source.folder / stem), []).append(path)
        if len(splits) > 1 and "test" not in splits:
            split_names = ", ".join(sorted(splits))
            reason = f"several splits ({split_names}) and none is 'test'; leave one of them in the folder"
            raise InputError.at(source.folder / stem, None, reason)
        if splits:
            return splits["test"] if "test" in splits else next(iter(splits.values()))
    raise InputError.at(
        source.folder,
        None,
        f"there is no {source.prefix}{part} of reranking data in MTEB's layout: "
        "corpus, queries, qrels and top_ranked, each a folder or a file of Parquet or JSON lines",
    )


def _split(path: Path, part: Path) -> str:
    """Return a file's split: the folder it stands in, or its name without the number of its shard."""
    if path.parent not in (part, part.parent):
        return path.parent.name
    name = uncompressed_name(path)
    return _SHARD.sub("", name[: name.rindex(".")])
