"""ir_datasets' records, whatever their fields are called; nothing is fetched."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import ir_datasets
import pytest
from ir_datasets.datasets.bright import BrightDocs, BrightQrels, BrightQueries
from ir_datasets.datasets.clinicaltrials import ClinicalTrialsDoc
from ir_datasets.datasets.codesearchnet import CodeSearchNetDoc
from ir_datasets.datasets.wapo import TrecBackgroundLinkingQuery, WapoDoc
from ir_datasets.formats import (
    BaseDocs,
    BaseQrels,
    BaseQueries,
    BaseScoredDocs,
    GenericDoc,
    GenericQuery,
    GenericScoredDoc,
    TrecQrel,
)
from ir_datasets.formats.argsme import ArgsMeProcessedDoc
from ir_datasets.util import LocalDownload

from benchmarks.candidates.building import build_pool
from benchmarks.datasets.ir_collection import TEXT_FIELDS
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.first_stages.specs import Run
from rerankers.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.datasets.dataset import Dataset

_number = itertools.count()


class Records:
    """Documents, queries and judgements in memory, as handlers of ir_datasets."""

    def __init__(
        self,
        documents: Sequence[Any],
        queries: Sequence[Any],
        judgements: Sequence[Any],
        scored: Sequence[Any] = (),
    ) -> None:
        class Store:
            def get_many(self, doc_ids: Sequence[str]) -> dict[str, Any]:
                return {document.doc_id: document for document in documents if document.doc_id in doc_ids}

        class Docs(BaseDocs):  # type: ignore[misc]
            def docs_iter(self) -> Iterator[Any]:
                return iter(documents)

            def docs_cls(self) -> Any:
                return type(documents[0])

            def docs_count(self) -> int:
                return len(documents)

            def docs_store(self) -> Store:
                return Store()

        class Queries(BaseQueries):  # type: ignore[misc]
            def queries_iter(self) -> Iterator[Any]:
                return iter(queries)

            def queries_cls(self) -> Any:
                return type(queries[0])

        class Qrels(BaseQrels):  # type: ignore[misc]
            def qrels_iter(self) -> Iterator[Any]:
                return iter(judgements)

            def qrels_cls(self) -> Any:
                return TrecQrel

        class Scored(BaseScoredDocs):  # type: ignore[misc]
            def scoreddocs_iter(self) -> Iterator[Any]:
                return iter(scored)

        parts = [Docs(), Queries(), Qrels(), *([Scored()] if scored else [])]
        self.name = f"handmade-{next(_number)}"
        ir_datasets.registry.register(self.name, ir_datasets.Dataset(*parts))


class Failing(list[Any]):
    """Queries that cannot be read."""

    def __init__(self, error: Exception) -> None:
        super().__init__([GenericQuery("q1", "a query")])
        self._error = error

    def __iter__(self) -> Iterator[Any]:
        raise self._error


def opened(
    documents: Sequence[Any] = (GenericDoc("d1", "a passage"),),
    queries: Sequence[Any] = (GenericQuery("q1", "a query"),),
    judgements: Sequence[Any] = (),
    **options: str,
) -> Dataset:
    records = Records(documents, queries, judgements)
    return open_dataset(DatasetSpec.model_validate({"id": records.name, **options}))


def filled(kind: Any, **values: Any) -> Any:
    """Return a record of a class with all fields; those not given hold a text that must not be read."""
    return kind(**{field: values.get(field, "NOT READ") for field in kind._fields})


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (
            filled(ArgsMeProcessedDoc, doc_id="d1", premises_texts="It barks.", conclusion="Dogs are loud"),
            "It barks. Dogs are loud",  # as ArgsMeDoc.default_text() writes it
        ),
        (
            ClinicalTrialsDoc("d1", "Title", "Condition", "Summary", "", "Eligibility"),
            "Title Condition Summary Eligibility",
        ),
        (filled(CodeSearchNetDoc, doc_id="d1", code="def f(): pass"), "def f(): pass"),
        (WapoDoc("d1", "url", "Title", "author", None, "kicker", "Body", (), ()), "Title Body"),
    ],
)
def test_a_passage_without_a_default_text_is_read_from_its_fields(document: Any, text: str) -> None:
    dataset = opened([document])
    assert list(dataset.documents()) == [("d1", text)]
    assert dataset.texts(["d1"]) == {"d1": text}


class Picture(NamedTuple):
    doc_id: str
    png: bytes


class Topic(NamedTuple):
    query_id: str
    words: str
    weight: int


def test_records_without_any_text_are_refused_with_their_fields() -> None:
    with pytest.raises(InputError, match="has no passage texts; its fields are doc_id, png"):
        opened([Picture("d1", b"")])
    with pytest.raises(InputError, match="Set query_field to one of query_id, words, weight"):
        opened(queries=[Topic("q1", "two words", 3)])
    assert opened(queries=[Topic("q1", "two words", 3)], query_field="words").queries == {"q1": "two words"}
    with pytest.raises(InputError, match="'weight' is int, not a text"):
        opened(queries=[Topic("q1", "two words", 3)], query_field="weight")


def test_a_query_given_by_a_document_has_its_text_and_excludes_it() -> None:
    documents = [
        WapoDoc("w1", "url", "Floods", "author", None, "", "in the north", (), ()),
        WapoDoc("w2", "url", "Rain", "author", None, "", "all week", (), ()),
    ]
    dataset = opened(documents, [TrecBackgroundLinkingQuery("321", "w1", "url")])
    assert dataset.queries == {"321": "Floods in the north"}
    assert dataset.exclusion == "query-document"
    assert dataset.excluded == {"321": frozenset({"w1"})}


def test_empty_and_repeated_queries_are_counted_aloud() -> None:
    queries = [GenericQuery("q1", "one"), GenericQuery("q2", " "), GenericQuery("q1", "another")]
    dataset = opened(queries=queries)
    assert dataset.queries == {"q1": "one", "q2": ""}
    assert dataset.notes == [
        "1 of 2 queries are empty",
        "1 queries repeat an earlier query id; the first text of each is used",
    ]


@pytest.mark.parametrize("second", [0, 1])
def test_a_second_judgement_of_a_passage_is_refused(second: int) -> None:
    judgements = [TrecQrel("q1", "d1", 1, "0"), TrecQrel("q1", "d1", second, "1")]
    with pytest.raises(InputError, match="judges 'd1' for query 'q1' a second time"):
        opened(judgements=judgements)


def test_grades_that_are_texts_are_numbers_or_refused() -> None:
    assert opened(judgements=[TrecQrel("q1", "d1", "3", "")]).qrels == {"q1": {"d1": 3}}
    with pytest.raises(InputError, match="the grade 'high' of 'd1' for query 'q1' is not a whole number"):
        opened(judgements=[TrecQrel("q1", "d1", "high", "")])


def test_the_official_ranking_is_read_as_trec_eval_does_and_refused_without_scores() -> None:
    documents = [GenericDoc(f"d{i}", "a passage") for i in range(3)]
    queries = [GenericQuery("q1", "a query"), GenericQuery("q2", "another")]
    scores = [("q1", "d0", 1.0), ("q1", "d1", 2.0), ("q1", "d2", 2.0), ("q2", "d0", 9.0)]

    def official(scored: list[tuple[str, str, float]]) -> Dataset:
        return open_dataset(
            Records(documents, queries, (), [GenericScoredDoc(*fields) for fields in scored]).name
        )

    assert official(scores).scored_documents(["q1"]) == {"q1": [("d2", 2.0), ("d1", 2.0), ("d0", 1.0)]}
    with pytest.raises(InputError, match="scoreddocs without scores, which are no ranking"):
        official([(query_id, doc_id, 0.0) for query_id, doc_id, _ in scores]).scored_documents(["q1"])


def test_judged_queries_without_a_text_are_counted_aloud() -> None:
    dataset = opened(judgements=[TrecQrel("q9", "d1", 1, "")])
    assert (dataset.qrels, len(dataset.notes)) == ({}, 1)
    assert dataset.notes[0].startswith("1 judged queries have no text")


@pytest.mark.parametrize(
    ("package", "error", "says"),
    [
        ("pyarrow", MissingExtraError, r"needs the extra 'collections': .*rerankbench\[collections\]"),
        (
            "pyautocorpus",
            InputError,
            r"requires pyautocorpus\. Run 'pip install ir_datasets\[pyautocorpus\]'",
        ),
    ],
)
def test_a_missing_package_is_said_with_what_installs_it(
    package: str, error: type[Exception], says: str
) -> None:
    message = f"This dataset requires {package}. Run 'pip install ir_datasets[{package}]' to install"
    with pytest.raises(error, match=says):
        opened(queries=Failing(ImportError(f"{message} dependencies for this dataset")))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file", "/collection"),
        ConnectionError("no route\nto it"),
        RuntimeError("All download sources failed", [("mirror", ConnectionError("no route\nto it"))]),
    ],
)
def test_a_dataset_that_cannot_be_fetched_is_said_in_one_line(error: Exception) -> None:
    with pytest.raises(InputError, match=r"cannot be fetched \((.*No such file|no route to it)") as caught:
        opened(queries=Failing(error))
    assert "\n" not in str(caught.value)


@pytest.fixture
def bright(tmp_path: Path) -> str:
    """Return a collection in BRIGHT's own files, read by ir_datasets' own classes."""
    import pyarrow
    from pyarrow import parquet

    def table(name: str, rows: list[dict[str, Any]]) -> LocalDownload:
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / name)
        return LocalDownload(tmp_path / name)

    documents = [{"id": f"d{i}", "content": f"passage {i}"} for i in range(4)]
    query = {"id": "0", "query": "Why?", "reasoning": "r", "gold_answer": "g"}
    queries = table("queries", [{**query, "gold_ids": ["d1"], "excluded_ids": ["d0", "d3"]}])
    reasons = {"gpt4_reason": table("reasons", [{"id": "0", "reasoning": "Think of gravity."}])}
    name = f"bright/handmade-{next(_number)}"
    dataset = ir_datasets.Dataset(
        BrightDocs(name, table("docs", documents)), BrightQueries(queries, reasons), BrightQrels(queries)
    )
    ir_datasets.registry.register(name, dataset)
    return name


def test_bright_is_read_by_text_or_reasoning_and_its_marked_passages_leave_the_candidates(
    bright: str, tmp_path: Path
) -> None:
    dataset = open_dataset(bright)
    assert dataset.queries == {"0": "Why?"}
    assert dataset.qrels == {"0": {"d1": 1, "d0": -100, "d3": -100}}
    # ir_datasets 0.6.3 maps `gpt4_reason` of the source to the field of that name.
    reasoned = open_dataset(DatasetSpec(id=bright, query_field="gpt4_reason"))
    assert reasoned.queries == {"0": "Think of gravity."}
    with pytest.raises(InputError, match="has no query_field 'gpt5_reason'; it has text, reasoning"):
        open_dataset(DatasetSpec(id=bright, query_field="gpt5_reason"))
    (tmp_path / "run.trec").write_text("".join(f"0 Q0 d{i} {i} {9 - i} t\n" for i in range(4)))
    pool = build_pool(bright, Run(kind="run", path=str(tmp_path / "run.trec")), 2)
    assert [hit.doc_id for hit in pool.candidates["0"]] == ["d1", "d2"]
    counts = {"candidates": 1, "queries": 1, "relevant": 0}  # of the first two, d0 alone
    assert pool.first_stage["excluded"] == {"rule": "negative-grades", **counts}


def test_every_text_dataset_of_the_installed_package_has_a_text_of_passages_and_queries() -> None:
    documented, no_text = set(TEXT_FIELDS), {"ToucheImageDoc"}
    for name in ir_datasets.registry:
        source = ir_datasets.registry[name]
        if "handmade" in name:
            continue
        if source.has("docs"):
            kind = source.docs_cls()
            has_text = hasattr(kind, "default_text") or kind.__name__ in documented | no_text
            assert has_text or "text" in kind._fields, name
        if source.has("queries"):
            kind = source.queries_cls()
            assert hasattr(kind, "default_text") or {"text", "doc_id"} & {*kind._fields}, name
