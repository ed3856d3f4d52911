"""A collection of one's own: tables of passages and queries, whatever their columns are called."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.candidates.building import build_pool
from benchmarks.candidates.pool_folder import load_pool, save_pool
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.first_stages.specs import Bm25, Run
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

PASSAGES = {"p1": 'Red, big\nA "fast" bicycle', "p2": "Blau Ein Fahrrad", "p3": "No title"}
CSV = 'id,title,text\np1,"Red, big","\nA ""fast"" bicycle"\n\np2,Blau,Ein Fahrrad\np3,,No title\n'


def spec(**values: Any) -> DatasetSpec:
    return DatasetSpec.model_validate({key: _text(value) for key, value in values.items()})


def _text(value: Any) -> Any:
    return value if isinstance(value, dict) else str(value)


def texts(dataset: Any) -> dict[str, str]:
    return dict(dataset.documents())


def refused(**values: Any) -> str:
    with pytest.raises(InputError) as caught:
        texts(open_dataset(spec(**values)))
    return str(caught.value)


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.csv"
    path.write_text("id;query\nq1;bicycle, red\nq2;Fahrrad\n")  # as a European spreadsheet writes it
    return path


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet as files

    files.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize("name", ["docs.csv", "docs.csv.gz", "docs.tsv", "docs.jsonl", "docs.parquet"])
def test_passages_are_read_from_every_form_in_a_folder_and_as_files(
    tmp_path: Path, queries: Path, name: str
) -> None:
    path = tmp_path / name
    rows = [
        {"id": "p1", "title": "Red, big", "text": "A bicycle"},
        {"id": "p2", "title": "Blau", "text": "Ein Fahrrad"},
    ]
    table = 'id,title,text\np1,"Red, big",A bicycle\np2,Blau,Ein Fahrrad\n'
    if name.endswith(".parquet"):
        parquet(path, rows)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name.endswith(".tsv"):
        path.write_text("id\ttitle\ttext\np1\tRed, big\tA bicycle\np2\tBlau\tEin Fahrrad\n")
    else:
        path.write_bytes(gzip.compress(table.encode()) if name.endswith(".gz") else table.encode())
    expected = {"p1": "Red, big A bicycle", "p2": "Blau Ein Fahrrad"}
    for dataset in (
        open_dataset(spec(folder=tmp_path)),
        open_dataset(spec(documents=path, queries=queries)),
    ):
        assert texts(dataset) == expected
        assert dataset.queries == {"q1": "bicycle, red", "q2": "Fahrrad"}
        assert dataset.qrels == {}


def test_fields_of_a_csv_hold_quotes_separators_and_line_ends(tmp_path: Path, queries: Path) -> None:
    path = tmp_path / "docs.csv"
    path.write_text(CSV, encoding="utf-8-sig")
    assert texts(open_dataset(spec(documents=path, queries=queries))) == {
        "p1": 'Red, big \nA "fast" bicycle',
        "p2": "Blau Ein Fahrrad",
        "p3": "No title",
    }
    path.write_text(CSV + "p4,too,many,fields\n")
    assert "docs.csv:7: expected 3 fields (id, title, text), found 4" in refused(
        documents=path, queries=queries
    )
    path.write_text(CSV + "p1,,again\n")
    assert "docs.csv:7" in refused(documents=path, queries=queries)
    path.write_text('id,text\np1,"never closed\n')
    assert "correct the quotes" in refused(documents=path, queries=queries)
    path.write_text("id,ID,text\np1,p1,x\n")
    assert "docs.csv:1: two columns are called 'id'" in refused(documents=path, queries=queries)
    path.write_bytes(b"id,text\np1,\xff\n")
    assert "not UTF-8" in refused(documents=path, queries=queries)


def test_columns_that_are_not_found_are_asked_for_and_named(tmp_path: Path, queries: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text("SKU,Name,Description\np1,Bike,Red\n")
    message = refused(documents=path, queries=queries)
    assert "products.csv:2: the key '_id' is missing; found 'sku', 'name', 'description'" in message
    assert "`columns: {doc_id: NAME}`" in message
    message = refused(documents=path, queries=queries, columns={"doc_id": "SKU"})
    assert "Name the one that holds the text with `columns: {text: NAME}`" in message
    names = {"doc_id": "SKU", "title": "Name", "text": "Description"}
    assert texts(open_dataset(spec(documents=path, queries=queries, columns=names))) == {"p1": "Bike Red"}
    queries.write_text("number,asked\nq1,bike\n")
    message = refused(documents=path, queries=queries, columns=names)
    assert "queries.csv:2" in message
    assert "`columns: {query_id: NAME}`" in message
    both = {**names, "query_id": "number", "query": "asked"}
    assert open_dataset(spec(documents=path, queries=queries, columns=both)).queries == {"q1": "bike"}
    message = refused(documents=path, queries=queries, columns={**both, "text": "Body"})
    assert "the key 'body' is missing" in message


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"documents": "d.csv"}, "documents and queries go together"),
        ({"folder": "f", "documents": "d.csv", "queries": "q.csv"}, "exactly one of"),
        ({"id": "bundled", "columns": {"text": "body"}}, "columns goes with folder or documents"),
        ({"candidates": "c.jsonl", "instruction_field": "why"}, "no further fields of its queries"),
    ],
)
def test_keys_that_do_not_fit_each_other_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        DatasetSpec.model_validate(values)


@pytest.fixture
def dataset_spec(tmp_path: Path) -> DatasetSpec:
    """Return a dataset whose queries have a rewritten text and an instruction; q2 has neither."""
    (tmp_path / "docs.csv").write_text("id,text\np1,red\np2,blue\n")
    rows = [
        {"id": "q1", "text": "colour?", "rewritten": "a red thing", "why": "Prefer bright colours."},
        {"id": "q2", "text": "blue", "rewritten": "", "why": None},
    ]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return spec(folder=tmp_path, retrieval_query_field="rewritten", instruction_field="why", name="asked")


@pytest.mark.lucene
def test_a_query_has_one_text_for_retrieval_and_another_for_reranking(
    dataset_spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))
    pool = build_pool(dataset_spec, Bm25(), 2)
    doc_ids_by_query = {query_id: pool.candidates.doc_ids(query_id) for query_id in pool.queries}
    assert {query_id: list(doc_ids) for query_id, doc_ids in doc_ids_by_query.items()} == {
        "q1": ["p1"],
        "q2": ["p2"],
    }
    assert pool.queries == {"q1": "colour?", "q2": "blue"}  # which finds nothing for q1
    assert pool.first_stage["query_field"] == "rewritten"
    assert "1 of 2 queries have no 'rewritten'; their own text retrieves" in pool.first_stage["warnings"]


def test_a_query_s_instruction_is_frozen_with_its_candidates(
    dataset_spec: DatasetSpec, tmp_path: Path
) -> None:
    (tmp_path / "r.trec").write_text("q1 Q0 p1 1 9 t\nq2 Q0 p2 1 9 t\n")
    first_stage = Run(kind="run", path=str(tmp_path / "r.trec"))
    pool = build_pool(dataset_spec, first_stage, 2)
    stored = load_pool(save_pool(pool, tmp_path / "pools"))
    for candidate_set in (pool, stored):
        stated = [request.instruction for request in candidate_set.requests("Judge by topic.")]
        assert stated == ["Prefer bright colours.", "Judge by topic."]
    plain = build_pool(dataset_spec.model_copy(update={"instruction_field": None}), first_stage, 2)
    assert plain.digest != pool.digest
    assert [request.instruction for request in plain.requests()] == [None, None]
