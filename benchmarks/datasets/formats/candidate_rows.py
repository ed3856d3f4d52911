"""The collection of queries and hits into a `CandidatesFile`, which rejects contradictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rerankers.files.json_lines import Row


class CandidatesFile(NamedTuple):
    """The content of a candidates file, in file order, hits best first.

    Attributes:
        queries: text by query id.
        passages: text by passage id.
        hits: (passage id, score), best first, by query id.
        local_texts: text by query id and passage id, where that id stands for another text in `passages`.
    """

    queries: dict[str, str]
    passages: dict[str, str]
    hits: dict[str, list[tuple[str, float]]]
    local_texts: dict[tuple[str, str], str]

    def text(self, query_id: str, doc_id: str) -> str:
        """Return the text of a query's hit; the passage must be in the file."""
        return self.local_texts.get((query_id, doc_id), self.passages[doc_id])


class Collector:
    """A builder of a `CandidatesFile` while a file is being read.

    Args:
        ids_are_local: whether one passage id may have another text in another query.
    """

    def __init__(self, ids_are_local: bool) -> None:
        self._ids_are_local = ids_are_local
        self._hits: dict[str, dict[str, float]] = {}
        self._queries: dict[str, str] = {}
        self._passages: dict[str, str] = {}
        self._local_texts: dict[tuple[str, str], str] = {}

    @property
    def file(self) -> CandidatesFile:
        """The rows collected so far."""
        hits = {query_id: list(hits.items()) for query_id, hits in self._hits.items()}
        return CandidatesFile(self._queries, self._passages, hits, self._local_texts)

    def add_query(self, row: Row, query_id: str, text: str) -> None:
        """Add a query without hits.

        Raises:
            InputError: the query id was added before; the message names the row.
        """
        row.add(self._queries, "query", query_id, text)
        self._hits[query_id] = {}

    def add_hit(self, row: Row, query_id: str, doc_id: str, score: float, content: str) -> None:
        """Append a hit to a query: its passage id, score and text.

        Raises:
            InputError: the query has the passage already, or its id stands for another text; the message
                names the row.
        """
        if self._passages.setdefault(doc_id, content) != content:
            if not self._ids_are_local:
                row.fail(f"passage {doc_id!r} had another content before; give the two different ids")
            self._local_texts[query_id, doc_id] = content
        row.add(self._hits[query_id], "passage", doc_id, score)
