"""The interface that every dataset implements: queries, judgements and passages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


class Dataset(ABC):
    """A test collection: queries, judgements and passages.

    Attributes:
        name: name of the dataset in tables.
        queries: text by query id, in the dataset's own order.
        qrels: grade by doc id by query id; empty if nothing is judged. Every judged query has a text.
        given: (doc id, score) best first by query id, where the dataset brings its own candidates; else None.
        exclusion: the rule by which passages leave the candidate set, see `benchmarks.datasets.exclusion`; or
            None.
        excluded: doc ids that the rule takes out of the candidate set, by query id.
        retrieval_query_field: the field of a query whose text the first stage gets; None for the query's
            text.
        retrieval_queries: texts of that field by query id.
        instructions: what passages are to be judged by, by query id, where a query has an instruction.
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
        self.retrieval_query_field: str | None = None
        self.retrieval_queries: dict[str, str] = {}
        self.instructions: dict[str, str] = {}
        self.notes: list[str] = []

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """16 hex digits that identify the passages; datasets with equal ones may share an index."""

    @property
    @abstractmethod
    def passage_count(self) -> int | None:
        """The number of passages, for progress estimates; None if it is not known without reading them."""

    @abstractmethod
    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield (doc id, text) of every passage."""

    @abstractmethod
    def texts(self, doc_ids: Sequence[str]) -> dict[str, str]:
        """Look up passages: return text by doc id for the given doc ids.

        Raises:
            InputError: the dataset lacks a passage.
        """

    def scored_documents(self, queries: Collection[str]) -> dict[str, list[tuple[str, float]]]:
        """Return the official first-stage ranking of some queries: (doc id, score), best first, by query id.

        Raises:
            InputError: the dataset has none.
        """
        raise InputError(f"{self.name} has no scoreddocs. Use bm25, dense or run as first stage")

    def query_fields(self, name: str) -> dict[str, str]:
        """Return the named field of every query that has it, by query id.

        Raises:
            InputError: no query has such a field.
        """
        raise InputError(f"{self.name} has no {name!r} of its queries. Name a folder or an ir_datasets id")

    def fields(self, name: str) -> dict[str, str]:
        """Return the named field, such as `title`, of every passage that has it, by doc id.

        Raises:
            InputError: no passage has such a field.
        """
        raise InputError(f"{self.name} has no {name!r} of its passages. Name a folder or an ir_datasets id")
