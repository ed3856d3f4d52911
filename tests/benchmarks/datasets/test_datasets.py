"""Datasets from folders, candidates files, ir_datasets and the package itself."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from pydantic import ValidationError

from benchmarks.datasets.ir_collection import dataset_ids
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from rerankers.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from pathlib import Path

CORPUS = '{"_id": "d1", "title": "Red fox", "text": "lives in dens"}\n{"_id": "d2", "text": "Owls hunt"}\n'
QUERIES = '{"_id": "q2", "text": "owl?"}\n{"_id": "q1", "text": "fox?"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.jsonl").write_text(CORPUS)
    (tmp_path / "queries.jsonl").write_text(QUERIES)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


def complaint(spec: DatasetSpec | str) -> str:
    with pytest.raises(InputError) as caught:
        list(open_dataset(spec).documents())
    return str(caught.value)


def test_a_folder_gives_queries_in_order_grades_and_title_with_text(folder: Path) -> None:
    dataset = open_dataset(str(folder))
    assert dataset.name == folder.name
    assert list(dataset.queries.items()) == [("q2", "owl?"), ("q1", "fox?")]
    assert dataset.qrels == {"q1": {"d1": 2}}
    assert list(dataset.documents()) == [("d1", "Red fox lives in dens"), ("d2", "Owls hunt")]
    assert dataset.texts(["d2", "d1"]) == {"d2": "Owls hunt", "d1": "Red fox lives in dens"}
    assert dataset.passage_count == 2
    assert dataset.given is None


def test_compressed_files_give_the_same_dataset(folder: Path) -> None:
    plain = open_dataset(str(folder))
    fingerprint = plain.fingerprint
    for path in [folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / "test.tsv"]:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    compressed = open_dataset(str(folder))
    assert (compressed.queries, compressed.qrels) == (plain.queries, plain.qrels)
    assert compressed.fingerprint == fingerprint


def test_the_fingerprint_follows_the_passages_alone(folder: Path) -> None:
    before = open_dataset(str(folder)).fingerprint
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "another query"}\n')
    assert open_dataset(str(folder)).fingerprint == before
    (folder / "corpus.jsonl").write_text(CORPUS.replace("dens", "tents"))
    assert open_dataset(str(folder)).fingerprint != before


def test_a_missing_passage_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"corpus\.jsonl: passage 'd3' is not in here; add it"):
        open_dataset(str(folder)).texts(["d1", "d3"])


def test_one_of_several_splits_is_asked_for(folder: Path) -> None:
    (folder / "qrels" / "dev.tsv").write_text(QRELS.replace("2", "1"))
    assert open_dataset(str(folder)).qrels == {"q1": {"d1": 2}}  # test stands out
    assert open_dataset(DatasetSpec(folder=str(folder), split="dev")).qrels == {"q1": {"d1": 1}}
    assert "no split 'train'; found dev, test" in complaint(DatasetSpec(folder=str(folder), split="train"))
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "train.tsv")
    assert "several splits; set split to one of dev, train" in complaint(str(folder))


def test_a_folder_without_judgements_is_a_dataset(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").unlink()
    assert open_dataset(str(folder)).qrels == {}


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("corpus.jsonl", CORPUS + "{", "corpus.jsonl:3: broken JSON"),
        ("corpus.jsonl", CORPUS + '{"_id": "d3"}', "corpus.jsonl:3: the key 'text' is missing"),
        ("corpus.jsonl", CORPUS + CORPUS, "corpus.jsonl:3: passage 'd1' appears a second time"),
        ("corpus.jsonl", '{"_id": "d1", "text": 3}', "corpus.jsonl:1: 'text' must be a string, not int"),
        (
            "corpus.jsonl",
            '{"_id": "", "text": ""}',
            "corpus.jsonl:1: '_id' must be an id without white space",
        ),
        ("corpus.jsonl", "", "corpus.jsonl: the file is empty"),
        ("queries.jsonl", QUERIES + QUERIES, "queries.jsonl:3: query 'q2' appears a second time"),
        ("queries.jsonl", '{"_id": "q1", "text": " "}', "queries.jsonl:1: the query is empty"),
        (
            "qrels/test.tsv",
            QRELS + "q1\td2\tgood\n",
            "qrels/test.tsv:3: the grade 'good' is not a whole number",
        ),
        ("qrels/test.tsv", QRELS + "q9\td2\t1\n", "qrels/test.tsv: query 'q9' is judged, but"),
    ],
)
def test_a_bad_line_is_named(folder: Path, file: str, content: str, says: str) -> None:
    (folder / file).write_text(content)
    assert says in complaint(str(folder))


def test_a_missing_member_is_named(folder: Path) -> None:
    (folder / "queries.jsonl").unlink()
    assert complaint(str(folder)).startswith(f"{folder}: there is no queries.jsonl, .csv, .tsv or .parquet")
    (folder / "queries").mkdir()
    assert "make candidates of it with rerankbench convert" in complaint(str(folder))


@pytest.mark.parametrize(
    ("corpus", "queries"),
    [
        ("d1\tRed fox lives in dens\nd2\tOwls hunt\n", "q2\towl?\nq1\tfox?\n"),
        (
            "id\ttitle\ttext\nd1\tRed fox\tlives in dens\nd2\t\tOwls hunt\n",
            "qid\tquery\nq2\towl?\nq1\tfox?\n",
        ),
    ],
    ids=["two columns", "named columns"],
)
def test_a_collection_in_tables_is_that_in_json_lines(corpus: str, queries: str, folder: Path) -> None:
    lines = open_dataset(str(folder))
    documents = list(lines.documents())
    for name, content in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").unlink()
        (folder / f"{name}.tsv").write_text(content)
    tables = open_dataset(str(folder))
    assert tables.queries == lines.queries
    assert tables.qrels == lines.qrels
    assert list(tables.documents()) == documents


@pytest.mark.parametrize(
    ("corpus", "says"),
    [
        (
            "d1\tRed fox\tlives in dens\n",
            "corpus.tsv:1: expected 2 columns (_id, text), separated by tabs, f",
        ),
        ("id\ttext\n", "corpus.tsv: names columns and holds nothing else"),
        ("d1\tx\nd1\ty\n", "corpus.tsv:2: passage 'd1' appears a second time"),
        ("id\ttext\nd 1\ty\n", "corpus.tsv:2: 'id' must be an id"),
        ("id\ttitle\nd1\ty\n", "corpus.tsv:2: the key 'text' is missing"),
    ],
)
def test_a_bad_line_of_a_table_is_named(corpus: str, says: str, folder: Path) -> None:
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.tsv").write_text(corpus)
    with pytest.raises(InputError) as caught:
        list(open_dataset(str(folder)).documents())
    assert says in str(caught.value)


def test_a_collection_in_two_forms_is_refused(folder: Path) -> None:
    (folder / "corpus.tsv").write_text("d1\tRed fox lives in dens\n")
    assert complaint(str(folder)).endswith("corpus.jsonl and corpus.tsv are both here; remove one of them")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert complaint(str(tmp_path / "absent")).endswith("absent: no such folder; check the path")


def test_a_candidates_file_is_a_dataset_with_its_own_candidates(tmp_path: Path) -> None:
    (tmp_path / "top.jsonl").write_text(
        '{"query": {"text": "fox?", "qid": "q1"}, "hits": [{"content": "a", "docid": "d1", "score": 2}]}\n'
    )
    (tmp_path / "qrels.txt").write_text("q1 0 d7 1\n")
    spec = DatasetSpec(candidates=str(tmp_path / "top.jsonl"), qrels=str(tmp_path / "qrels.txt"))
    dataset = open_dataset(spec)
    assert (dataset.name, dataset.queries, dataset.qrels) == ("top", {"q1": "fox?"}, {"q1": {"d7": 1}})
    assert dataset.given == {"q1": [("d1", 2.0)]}
    assert dataset.texts(["d1"]) == {"d1": "a"}
    assert open_dataset(str(tmp_path / "top.jsonl")).qrels == {}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("bundled", {"id": "bundled"}),
        ("beir/scifact/test", {"id": "beir/scifact/test"}),
        ("./here", {"folder": "./here"}),
        ("top100.jsonl.gz", {"candidates": "top100.jsonl.gz"}),
        ({"folder": "x", "split": "dev", "name": "X"}, {"folder": "x", "split": "dev", "name": "X"}),
    ],
)
def test_a_plain_string_stands_for_what_it_names(spec: Any, expected: dict[str, str]) -> None:
    assert DatasetSpec.model_validate(spec).model_dump(exclude_none=True) == expected


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "exactly one of id, folder, candidates and documents"),
        ({"id": "a", "folder": "b"}, "exactly one of id, folder, candidates and documents"),
        ({"id": "a", "qrels": "b"}, "qrels goes with candidates"),
        ({"id": "a", "split": "b"}, "split goes with folder"),
        ({"ids": "a"}, "Extra inputs are not permitted"),
    ],
)
def test_contradictory_specifications_are_refused(spec: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DatasetSpec.model_validate(spec)


def test_an_unknown_name_offers_near_misses() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*msmarco-passage/trec-dl-2019"):
        open_dataset("msmarco-passage/trec-dl-2091")
    assert complaint("???").startswith("unknown dataset '???': neither a folder here nor an ir_datasets id")


def test_known_names_are_listed_with_the_built_in_collection_first() -> None:
    assert dataset_ids()[0] == "bundled"
    assert "beir/scifact/test" in dataset_ids()


class TitledDocument(NamedTuple):
    doc_id: str
    title: str
    body: str

    def default_text(self) -> str:
        return f"{self.title} {self.body}"


def test_an_ir_datasets_id_is_read_through_that_package(tmp_path: Path) -> None:
    import ir_datasets
    from ir_datasets.formats import JsonlDocs, TrecQrels, TsvQueries
    from ir_datasets.util import LocalDownload

    (tmp_path / "docs.jsonl").write_text(
        '{"doc_id": "d1", "title": "Red fox", "body": "lives in dens"}\n'
        '{"doc_id": "d2", "title": "", "body": "x"}\n'
    )
    (tmp_path / "queries.tsv").write_text("q1\tfox?\nq2\towl?\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 2\nq1 0 d2 0\nq9 0 d2 1\n")
    documents = JsonlDocs(
        LocalDownload(tmp_path / "docs.jsonl"), doc_cls=TitledDocument, docstore_path=str(tmp_path / "store")
    )
    queries = TsvQueries(LocalDownload(tmp_path / "queries.tsv"))
    judgements = TrecQrels(LocalDownload(tmp_path / "qrels.txt"), {})
    name = f"handmade-{tmp_path.name}"
    ir_datasets.registry.register(name, ir_datasets.Dataset(documents))
    ir_datasets.registry.register(f"{name}/judged", ir_datasets.Dataset(documents, queries, judgements))
    dataset = open_dataset(f"{name}/judged")
    assert dataset.queries == {"q1": "fox?", "q2": "owl?"}
    assert dataset.qrels == {"q1": {"d1": 2, "d2": 0}}
    assert list(dataset.documents()) == [("d1", "Red fox lives in dens"), ("d2", "x")]
    assert dataset.texts(["d1"]) == {"d1": "Red fox lives in dens"}
    with pytest.raises(InputError, match="has no passage 'd3'"):
        dataset.texts(["d1", "d3"])
    with pytest.raises(InputError, match="has no queries; name one that has"):
        open_dataset(name)
