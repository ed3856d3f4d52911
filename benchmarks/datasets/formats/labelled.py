"""A reader of queries with relevant and other passages, as training data and MTEB's older data list them.

A line is `{"query": ..., "positive": [...], "negative": [...]}`. The two lists have other names elsewhere
(`KEYS`), and a single text stands for a list of one. A passage is a text, or an object with `text` and
perhaps `title` and `docid`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.datasets.formats import field_names
from benchmarks.datasets.formats.records import query_text, read_records, texts_of
from rerankers.files.json_lines import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = (
    ("positive", "negative"),
    ("pos", "neg"),  # FlagEmbedding
    ("positive_passages", "negative_passages"),  # Tevatron
    ("positives", "negatives"),
)
_QUERY = ("query", "anchor")
_QUERY_ID = ("query_id", "qid", "query-id", "_id", "id")


class Labelled(NamedTuple):
    """A query with its candidates and the grades of those that are judged.

    Attributes:
        query_id: the query's id.
        query: its text.
        passages: text by passage id, in no meaningful order.
        grades: grade by passage id; it may judge passages that are not among the candidates.
    """

    query_id: str
    query: str
    passages: dict[str, str]
    grades: dict[str, int]


def read_labelled(source: Path) -> Iterator[Labelled]:
    """Yield the queries of a file, one an object, with grade 1 for positive passages, 0 for negative.

    Raises:
        InputError: a line is wrong, a query id appears twice, a passage is both relevant and not, or one
            passage id has two texts.
    """
    seen: dict[str, None] = {}
    texts: dict[str, str] = {}
    for row in read_records(source):
        query_id = f"q{row.line}"
        if set(_QUERY_ID) & row.values.keys():
            query_id = row.identifier(row.first_key(_QUERY_ID))
        row.add(seen, "query", query_id, None)
        query = query_text(row, row.first_key(_QUERY))
        passages: dict[str, str] = {}
        grades: dict[str, int] = {}
        for grade, key in zip((1, 0), _keys(row), strict=True):
            for doc_id, text in _passages(row, key):
                if grades.setdefault(doc_id, grade) != grade:
                    row.fail(f"a passage is both {' and '.join(_keys(row))}: {text[:40]!r}; keep one of them")
                if texts.setdefault(doc_id, text) != text:
                    row.fail(f"passage {doc_id!r} had another content before; give the two different ids")
                passages[doc_id] = text
        yield Labelled(query_id, query, passages, grades)


def text_hash(text: str) -> str:
    """Return the first 12 hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def _keys(row: Row) -> tuple[str, str]:
    """Return the names of the two lists in a row, positive first.

    Raises:
        InputError: the row has no list of positive passages.
    """
    keys_found = next((keys for keys in KEYS if keys[0] in row.values), None)
    if keys_found is None:
        row.first_key([positive for positive, _ in KEYS])
    return keys_found or KEYS[0]


def _passages(row: Row, key: str) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of each passage of one list; a passage without an id gets one made from its text.

    Raises:
        InputError: an item is neither a text nor an object with a text.
    """
    values = row.get(key)
    for place, value in enumerate(values if isinstance(values, list) else [values], 1):
        if isinstance(value, dict):
            passage = Row(row.path, row.line, value, f"{key} {place}")
            text = texts_of(passage, field_names.CONTENT)
            named = set(field_names.DOC_ID) & value.keys()
            doc_id = passage.identifier(passage.first_key(field_names.DOC_ID)) if named else None
        elif isinstance(value, str):
            text = Row(row.path, row.line, {key: value}).text(key)
            doc_id = None
        else:
            row.fail(f"{key!r} must be a text or a list of texts or of objects, not {type(value).__name__}")
        yield doc_id or f"p{text_hash(text)}", text
