"""Reads a candidates file: queries with the passages that a first stage retrieved for them.

Two layouts, told apart by the first object of the file, which may be JSON lines, one JSON array or Parquet:

- one object a query, with its hits (rank_llm, RankGPT, TREC RAG; below);
- one object a pair of query and passage (`benchmarks.datasets.formats.pairs`: TIREx, PyTerrier, Lightning
  IR).

    {"query": {"text": ..., "qid": ...}, "hits": [{"content", "qid", "docid", "rank", "score"}, ...]}
    {"query": {"text": ..., "qid": ...}, "candidates": [{"docid", "score", "doc": {"title", "text"}}, ...]}

The query may be a plain string if its hits carry the `qid`; a hit may leave out `rank` and `qid`. Pairs may
also stand in a tab-separated table, such as MS MARCO's `top1000`.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.datasets.formats import field_names, pairs
from benchmarks.datasets.formats.candidate_rows import CandidatesFile, Collector
from benchmarks.datasets.formats.records import (
    PARQUET,
    SUFFIXES,
    query_text,
    read_records,
    records_of,
    texts_of,
)
from rerankers.errors import InputError
from rerankers.files.input_files import uncompressed_name
from rerankers.files.json_lines import Row, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CandidatesFile", "candidates_stem", "query_text", "read_candidates"]


def candidates_stem(path: Path) -> str | None:
    """Return the file's name without suffixes, or None if its suffix is not that of a candidates file."""
    name = Path(uncompressed_name(path))
    return name.stem if name.suffix in (*SUFFIXES, ".tsv") else None


def read_candidates(path: Path, *, ids_are_local: bool = False) -> CandidatesFile:
    """Read a candidates file, plain or compressed; return its queries, passages and hits in file order.

    Args:
        path: the file.
        ids_are_local: one passage id may have another text in another query, as where passages are numbered
            anew for each query; otherwise that is refused.

    Raises:
        InputError: a line is broken, a key is missing or of the wrong kind, an id appears twice, ranks do not
            increase, or one passage id has two contents.
        MissingExtraError: the file is Parquet, and pyarrow is not installed.
    """
    collected = Collector(ids_are_local)
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise InputError.at(path, None, "names columns and holds nothing else; check how it was made")
    if pairs.is_pair(first):
        pairs.collect(chain([first], rows), collected)
    else:
        for row in chain([first], rows):
            _collect_query(row, collected)
    return collected.file


def _rows(path: Path) -> Iterator[Row]:
    """Yield each object or table row of a candidates file, with its line number."""
    if path.suffix == PARQUET:
        yield from read_records(path)
        return
    lines = read_lines(path)
    number, line = next(lines)
    whole = chain([(number, line)], lines)
    if pairs.is_table(line):
        yield from pairs.table_rows(path, whole)
    else:
        yield from records_of(path, whole)


def _collect_query(row: Row, collected: Collector) -> None:
    """Add one row's query, and its hits with their texts and scores, to the collector."""
    hits = _hits(row)
    query_id, text = _query(row, hits)
    collected.add_query(row, query_id, text)
    for hit in hits:
        doc_id = hit.identifier(hit.first_key(field_names.DOC_ID))
        content = _content(hit)
        collected.add_hit(hit, query_id, doc_id, hit.number("score"), content)


def _hits(row: Row) -> list[Row]:
    """Return the hits of one row in file order; refuse ranks that do not increase."""
    key = "candidates" if "candidates" in row.values and "hits" not in row.values else "hits"
    values = row.get(key)
    if not isinstance(values, list):
        row.fail(f"{key!r} must be a list, not {type(values).__name__}")
    hits = []
    last = float("-inf")
    for position, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            row.fail(f"hit {position} must be an object, not {type(value).__name__}")
        hit = Row(row.path, row.line, value, f"hit {position}")
        if "rank" in value:
            if hit.number("rank") <= last:
                hit.fail("ranks must increase from hit to hit; sort the hits")
            last = hit.number("rank")
        hits.append(hit)
    return hits


def _content(hit: Row) -> str:
    """Return a hit's text: its `content`, or title and text of its `doc`."""
    if hit.values.get("doc") is None or hit.values.get("content") is not None:
        return hit.text("content") if "content" in hit.values else texts_of(hit, field_names.CONTENT)
    value = hit.get("doc")
    if isinstance(value, str):
        return hit.text("doc")
    if not isinstance(value, dict):
        hit.fail(f"'doc' must be an object or a text, not {type(value).__name__}")
    return texts_of(Row(hit.path, hit.line, value, f"{hit.where}, doc"), field_names.DOC_TEXT)


def _query(row: Row, hits: list[Row]) -> tuple[str, str]:
    """Return the (query id, query text) of a row; refuse hits that name another query.

    The query is `{"text", "qid"}`, or a text whose id stands beside it or in its first hit.
    """
    value = row.get("query")
    if isinstance(value, dict):
        query = Row(row.path, row.line, value, "query")
        query_id = query.identifier(query.first_key(field_names.QUERY_ID))
        text = query_text(query, "text")
    else:
        text = query_text(row, "query")
        named = [row] if set(field_names.QUERY_ID) & row.values.keys() else hits[:1]
        if not named:
            row.fail('the query has no id and no hits; write it as {"text": ..., "qid": ...}')
        query_id = named[0].identifier(named[0].first_key(field_names.QUERY_ID))
    for hit in hits:
        if "qid" in hit.values and hit.identifier("qid") != query_id:
            hit.fail(f"belongs to query {hit.identifier('qid')!r}, but the line to {query_id!r}")
    return query_id, text
