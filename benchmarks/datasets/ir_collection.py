"""Datasets of the ir_datasets package; passages come from the package's document store."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.exclusion import QUERY_DOCUMENT
from benchmarks.evaluation.ties import trec_eval_order
from rerankers.errors import InputError, MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

TEXT_FIELDS = {
    "ArgsMeProcessedDoc": ("premises_texts", "conclusion"),  # as the unprocessed collection's default text
    "ClinicalTrialsDoc": ("title", "condition", "summary", "detailed_description", "eligibility"),
    "CodeSearchNetDoc": ("code",),
}
"""Fields that are the text of records for which ir_datasets 0.6.3 names none."""

_IN_EXTRA = ("beautifulsoup4", "ijson", "inscriptis", "pyarrow", "zlib-state")
"""Optional packages of ir_datasets that our extra `collections` installs: those that need no compiler."""


class IrDataset(Dataset):
    """A dataset that ir_datasets provides.

    Args:
        name: name of the dataset in tables.
        dataset_id: the package's id.
        query_field: the field of a query that is its text; by default the package's choice, or `text`.

    Attributes:
        query_documents: doc id by query id, where queries are documents of the collection; such a document
            leaves the candidate set of its query.

    Raises:
        InputError: the id is unknown, it has no documents or queries, or they cannot be read.
    """

    def __init__(self, name: str, dataset_id: str, query_field: str | None = None) -> None:
        import ir_datasets

        self._id = dataset_id
        self.query_documents: dict[str, str] = {}
        try:
            self._source = ir_datasets.load(dataset_id)
        except KeyError as error:
            raise unknown_dataset(dataset_id) from error
        for kind in ("docs", "queries"):
            if not self._source.has(kind):
                raise InputError(f"dataset {dataset_id!r} has no {kind}; name one that has")
        self._text = self._document_text()
        with _reading(dataset_id):
            queries, notes = self._queries(query_field)
            qrels = self._judgements() if self._source.has_qrels() else {}
        # Some datasets judge queries whose text they leave to another id; those cannot be run at all.
        textless = len(qrels.keys() - queries.keys())
        if textless:
            notes.append(f"{textless} judged queries have no text in this dataset and are left out")
        super().__init__(
            name, queries, {query_id: qrels[query_id] for query_id in queries if query_id in qrels}
        )
        self.notes += notes
        if self.query_documents:
            self.exclusion = QUERY_DOCUMENT
            self.excluded = {
                query_id: frozenset({doc_id}) for query_id, doc_id in self.query_documents.items()
            }

    def _queries(self, query_field: str | None) -> tuple[dict[str, str], list[str]]:
        """Read the queries: text by query id, and notes about empty texts and repeated ids."""
        text_of = self._query_text(query_field)
        queries: dict[str, str] = {}
        repeated = 0
        for query in self._source.queries_iter():
            repeated += query.query_id in queries
            queries.setdefault(query.query_id, (text_of(query) or "").strip())
        empty = sum(not text for text in queries.values())
        notes = [f"{empty} of {len(queries)} queries are empty"] if empty else []
        if repeated:
            notes.append(f"{repeated} queries repeat an earlier query id; the first text of each is used")
        return queries, notes

    def _query_text(self, query_field: str | None) -> Callable[[Any], str]:
        """Return the function that gives a query record's text.

        Args:
            query_field: the field to read; None for the package's default text, `text`, or the query's
                document.

        Raises:
            InputError: the records have no such field, or no field that is known to be a text.
        """
        kind = self._source.queries_cls()
        if query_field is not None:
            if query_field not in kind._fields or query_field == "query_id":
                fields = ", ".join(field for field in kind._fields if field != "query_id")
                raise InputError(f"dataset {self._id!r} has no query_field {query_field!r}; it has {fields}")
            return lambda query: self._string(getattr(query, query_field), query_field)
        if hasattr(kind, "default_text"):
            return lambda query: query.default_text()
        if "text" in kind._fields:
            return lambda query: self._string(query.text, "text")
        if "doc_id" in kind._fields:
            return self._text_of_query_document
        raise InputError(
            f"dataset {self._id!r} does not say which field is a query's text. Set query_field to one of "
            f"{', '.join(kind._fields)}."
        )

    def _text_of_query_document(self, query: Any) -> str:
        """Return the text of the document that stands for a query; note its doc id in `query_documents`."""
        self.query_documents[query.query_id] = query.doc_id
        return self.texts([query.doc_id])[query.doc_id]

    def query_fields(self, name: str) -> dict[str, str]:
        """Return the named field of every query, by query id; where an id is repeated, of its first query.

        Raises:
            InputError: queries have no such field, or it is not a string.
        """
        text_of = self._query_text(name)
        values: dict[str, str] = {}
        with _reading(self._id):
            for query in self._source.queries_iter():
                values.setdefault(query.query_id, text_of(query))
        return values

    def _string(self, value: Any, field: str) -> str:
        """Return a record's value if it is a string.

        Raises:
            InputError: it is not; the message names the field.
        """
        if not isinstance(value, str):
            raise InputError(f"dataset {self._id!r}: {field!r} is {type(value).__name__}, not a text")
        return value

    def _document_text(self) -> Callable[[Any], str]:
        """Return the function that gives a document record's text: the default, or some fields joined.

        Raises:
            InputError: the records have no text field.
        """
        kind = self._source.docs_cls()
        if hasattr(kind, "default_text"):
            return lambda document: document.default_text()
        usual = ("title", "text") if "text" in kind._fields else ()
        fields = TEXT_FIELDS.get(kind.__name__, [field for field in usual if field in kind._fields])
        if not fields:
            raise InputError(
                f"dataset {self._id!r} has no passage texts; its fields are {', '.join(kind._fields)}"
            )
        return lambda document: " ".join(filter(None, (getattr(document, field) for field in fields)))

    def _judgements(self) -> dict[str, dict[str, int]]:
        """Read the judgements: grade by doc id by query id.

        Raises:
            InputError: a passage is judged twice for one query, or a grade is not a whole number.
        """
        qrels: dict[str, dict[str, int]] = {}
        for judged in self._source.qrels_iter():
            grades = qrels.setdefault(judged.query_id, {})
            if judged.doc_id in grades:
                raise InputError(
                    f"dataset {self._id!r} judges {judged.doc_id!r} for query {judged.query_id!r} a second "
                    "time. Write its judgements, one a passage, to a folder or file of your own."
                )
            try:
                grades[judged.doc_id] = int(judged.relevance)
            except ValueError as error:
                raise InputError(
                    f"dataset {self._id!r}: the grade {judged.relevance!r} of {judged.doc_id!r} for query "
                    f"{judged.query_id!r} is not a whole number"
                ) from error
        return qrels

    @property
    def fingerprint(self) -> str:
        """16 hex digits of a digest of the collection's id, which datasets over the same documents share."""
        import ir_datasets

        return hashlib.sha256(f"ir_datasets:{ir_datasets.docs_parent_id(self._id)}".encode()).hexdigest()[:16]

    @property
    def passage_count(self) -> int | None:
        """The number of passages, where ir_datasets states it; else None."""
        count: int | None = self._source.docs_count()
        return count

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield (doc id, text) of every passage, in the collection's order."""
        with _reading(self._id):
            for document in self._source.docs_iter():
                yield document.doc_id, (self._text(document) or "").strip()

    def scored_documents(self, queries: Collection[str]) -> dict[str, list[tuple[str, float]]]:
        """Return the official first-stage ranking of the given queries: (doc id, score) by query id.

        Passages are sorted as trec_eval sorts them, best first.

        Raises:
            InputError: the dataset has none, or one whose scores are all equal, which is not a ranking.
        """
        if not self._source.has("scoreddocs"):
            return super().scored_documents(queries)
        scores_by_query: dict[str, dict[str, float]] = {query_id: {} for query_id in queries}
        with _reading(self._id):
            for scored in self._source.scoreddocs_iter():
                if scored.query_id in scores_by_query:
                    scores_by_query[scored.query_id][scored.doc_id] = float(scored.score)
        if not any(len({*scores.values()}) > 1 for scores in scores_by_query.values()):
            raise InputError(
                f"dataset {self._id!r} has scoreddocs without scores, which are no ranking. Use bm25, dense "
                "or run as first stage"
            )
        return {query_id: trec_eval_order(scores.items()) for query_id, scores in scores_by_query.items()}

    def fields(self, name: str) -> dict[str, str]:
        """Return the named field of every document that has it, by doc id.

        Raises:
            InputError: documents have no such field, or it is not a string.
        """
        kind = self._source.docs_cls()
        if name not in kind._fields:
            field_names = ", ".join(field for field in kind._fields if field != "doc_id")
            raise InputError(
                f"dataset {self._id!r} has no field {name!r} of its documents. It has {field_names}"
            )
        with _reading(self._id):
            return {
                document.doc_id: self._string(getattr(document, name), name)
                for document in self._source.docs_iter()
                if getattr(document, name) is not None
            }

    def texts(self, doc_ids: Sequence[str]) -> dict[str, str]:
        """Look up passages in the document store: return text by doc id for the given doc ids.

        Raises:
            InputError: the dataset lacks a passage.
        """
        with _reading(self._id):
            documents = self._source.docs_store().get_many(doc_ids)
        for doc_id in doc_ids:
            if doc_id not in documents:
                raise InputError(f"dataset {self._id!r} has no passage {doc_id!r}; is it the run's dataset?")
        return {doc_id: (self._text(documents[doc_id]) or "").strip() for doc_id in doc_ids}


@contextmanager
def _reading(dataset_id: str) -> Iterator[None]:
    """Turn errors of ir_datasets within the block into one line that names the missing package or file.

    Raises:
        MissingExtraError: a package of our extra `collections` is not installed.
        InputError: another package is missing, or a file cannot be fetched or read.
    """
    try:
        yield
    except ImportError as error:
        if any(f"requires {package}." in str(error) for package in _IN_EXTRA):
            raise MissingExtraError(f"dataset {dataset_id!r}", "collections") from error
        raise InputError(f"dataset {dataset_id!r}: {' '.join(str(error).split())}") from error
    except (OSError, RuntimeError) as error:
        mirrors = error.args[1] if len(error.args) == 2 and isinstance(error.args[1], list) else []
        first = " ".join(str(mirrors[0][-1] if mirrors else error).split())
        reason = f"cannot be fetched ({first[:300]}); check the network, or see https://ir-datasets.com"
        raise InputError(f"dataset {dataset_id!r} {reason}") from error


def dataset_ids() -> list[str]:
    """Return `bundled` and every id that ir_datasets knows."""
    import ir_datasets

    return ["bundled", *sorted(ir_datasets.registry)]


def unknown_dataset(dataset_id: str) -> InputError:
    """Return the error for an id that ir_datasets does not have, with similar ids if there are any."""
    import difflib

    ids = dataset_ids()
    if difflib.get_close_matches(dataset_id, ids, n=1, cutoff=0.5):
        return UnknownNameError("dataset", dataset_id, ids)
    reason = "neither a folder here nor an ir_datasets id; see rerankbench list datasets"
    return InputError(f"unknown dataset {dataset_id!r}: {reason}")
