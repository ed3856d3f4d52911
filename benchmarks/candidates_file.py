"""Reads the field's candidates file: JSON lines, each a query with its hits.

    {"query": {"text": ..., "qid": ...}, "hits": [{"content", "qid", "docid", "rank", "score"}, ...]}

The query may be a plain string if its hits carry the `qid`; a hit may leave out `rank` and `qid`. This is how
RankGPT and older rank_llm write; newer rank_llm says `candidates`, each with its passage in `doc`:

    {"query": {...}, "candidates": [{"docid", "score", "doc": {"title": ..., "text": ...}}, ...]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rerankers.json_lines import Row, read_json_lines

if TYPE_CHECKING:
    from pathlib import Path


class CandidatesFile(NamedTuple):
    """What a candidates file holds: all in file order, the hits best first."""

    queries: dict[str, str]
    passages: dict[str, str]
    hits: dict[str, list[tuple[str, float]]]


def read_candidates(path: Path) -> CandidatesFile:
    """Read a candidates file, plain or gzip.

    Raises:
        InputError: a line is broken, a key is missing or of the wrong kind, an id appears twice, ranks do not
            increase, or one passage id has two contents.
    """
    queries: dict[str, str] = {}
    passages: dict[str, str] = {}
    given: dict[str, list[tuple[str, float]]] = {}
    for line, values in read_json_lines(path):
        row = Row(path, line, values)
        hits = _hits(row)
        query_id, text = _query(row, hits)
        row.add(queries, "query", query_id, text)
        found: dict[str, float] = {}
        for hit in hits:
            doc_id, content = hit.identifier("docid"), _content(hit)
            if passages.setdefault(doc_id, content) != content:
                hit.fail(f"passage {doc_id!r} had another content before; give the two different ids")
            hit.add(found, "passage", doc_id, hit.number("score"))
        given[query_id] = list(found.items())
    return CandidatesFile(queries, passages, given)


def query_text(row: Row, key: str) -> str:
    """A query's text, which must say something.

    Raises:
        InputError: it is missing or empty.
    """
    text = row.text(key)
    if not text.strip():
        row.fail("the query is empty; write it or remove the line")
    return text


def _hits(row: Row) -> list[Row]:
    """The hits of one line in file order, which must be the order of their ranks where they have any."""
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


_TEXTS = ("text", "segment", "contents", "content", "body", "passage")
"""What rank_llm calls a passage's text, in the order in which it looks."""


def _content(hit: Row) -> str:
    """A hit's text: `content`, or the title and the text of its `doc` joined by a space."""
    if "content" in hit.values or "doc" not in hit.values:
        return hit.text("content")
    value = hit.get("doc")
    if not isinstance(value, dict):
        hit.fail(f"'doc' must be an object, not {type(value).__name__}")
    doc = Row(hit.path, hit.line, value, f"{hit.where}, doc")
    title = doc.text("title") if value.get("title") is not None else ""
    key = next((name for name in _TEXTS if name in value), "text")
    return f"{title} {doc.text(key)}".strip()


def _query(row: Row, hits: list[Row]) -> tuple[str, str]:
    """Id and text of a line's query: `{"text", "qid"}`, or a string with the id in its hits."""
    value = row.get("query")
    if isinstance(value, dict):
        query = Row(row.path, row.line, value, "query")
        query_id, text = query.identifier("qid"), query_text(query, "text")
    else:
        text = query_text(row, "query")
        if not hits:
            row.fail('the query has no id and no hits; write it as {"text": ..., "qid": ...}')
        query_id = hits[0].identifier("qid")
    for hit in hits:
        if "qid" in hit.values and hit.identifier("qid") != query_id:
            hit.fail(f"belongs to query {hit.identifier('qid')!r}, but the line to {query_id!r}")
    return query_id, text
