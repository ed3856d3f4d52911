"""Labelled data become candidates and judgements without a passage or a grade lost, and favour no passage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.candidates.file import read_candidates
from benchmarks.cli.convert import convert
from benchmarks.cli.main import main
from benchmarks.datasets.readers import read_qrels
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from rerankers.errors import InputError, StoreError

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def grades_by_text(out: Path) -> dict[str, dict[str, int]]:
    """Grades by text, by query."""
    candidates_file, qrels = read_candidates(out / "candidates.jsonl"), read_qrels(out / "qrels.txt")
    return {
        text: {
            candidates_file.passages[doc_id]: qrels[query_id][doc_id]
            for doc_id, _ in candidates_file.hits[query_id]
        }
        for query_id, text in candidates_file.queries.items()
    }


def test_labelled_lines_keep_every_grade_and_favour_no_passage(tmp_path: Path) -> None:
    texts = [f"passage {i}" for i in range(20)]
    lines = [{"query": f"query {i}", "positive": texts[:2], "negative": texts[2:]} for i in range(50)]
    assert convert(written(tmp_path / "mteb.jsonl", *lines), tmp_path / "out") == (50, 20, 0)
    candidates_file, qrels = (
        read_candidates(tmp_path / "out/candidates.jsonl"),
        read_qrels(tmp_path / "out/qrels.txt"),
    )
    relevant = {candidates_file.passages[doc_id] for doc_id, grade in qrels["q1"].items() if grade}
    assert relevant == {"passage 0", "passage 1"}
    first = sum(qrels[query_id][hits[0][0]] for query_id, hits in candidates_file.hits.items())
    assert 0 <= first <= 15  # two of twenty are relevant: five of fifty are expected to be first


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            {"query": "q", "positive": 7, "negative": []},
            ":1: 'positive' must be a text or a list of texts or",
        ),
        ({"query": "q", "positive": ["a"]}, ":1: the key 'negative' is missing"),
        ({"query": "q", "positive": ["a"], "negative": ["a"]}, ":1: a passage is both positive and negative"),
        ({"query": ["q"], "positive": [], "negative": []}, ":1: 'query' must be a string"),
    ],
)
def test_labelled_lines_are_read_strictly(line: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        convert(written(tmp_path / "mteb.jsonl", line), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    source = written(tmp_path / "mteb.jsonl", {"query": "q", "positive": ["a"], "negative": []})
    with pytest.raises(StoreError, match="choose another --out"):
        convert(source, tmp_path / "file" / "out")


@pytest.mark.parametrize(
    "line",
    [
        {"query": "why", "positive": "Yeast.", "negative": ["Salt.", "Ice."]},
        {"anchor": "why", "positive": ["Yeast."], "negative": ["Salt.", "Ice."]},
        {"query": "why", "pos": ["Yeast."], "neg": ["Salt.", "Ice."], "pos_scores": [1.0], "prompt": "x"},
        {
            "query_id": 7,
            "query": "why",
            "positive_passages": [{"docid": "1", "title": "", "text": "Yeast."}],
            "negative_passages": [{"docid": "2", "text": "Salt."}, {"docid": "3", "text": "Ice."}],
        },
    ],
    ids=["single text", "anchor", "FlagEmbedding", "Tevatron"],
)
@pytest.mark.parametrize("form", ["lines", "array", "parquet"])
def test_relevant_and_other_passages_are_read_under_every_name(
    line: dict[str, Any], form: str, tmp_path: Path
) -> None:
    source = written(tmp_path / "pairs.json", line)
    if form == "array":
        source.write_text(json.dumps([line], indent=1))
    elif form == "parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        source = tmp_path / "pairs.parquet"
        parquet.write_table(pyarrow.Table.from_pylist([line]), source)
    assert convert(source, tmp_path / "out") == (1, 3, 0)
    assert grades_by_text(tmp_path / "out") == {"why": {"Yeast.": 1, "Salt.": 0, "Ice.": 0}}
    if "query_id" in line:
        assert read_qrels(tmp_path / "out/qrels.txt") == {"7": {"1": 1, "2": 0, "3": 0}}


CORPUS: list[dict[str, Any]] = [
    {"id": "d1", "title": "Dough", "text": "Yeast makes gas."},
    {"id": "d2", "title": "", "text": "Salt melts ice."},
    {"id": "d3", "title": None, "text": "Nobody ranks this."},
]
QUERIES: list[dict[str, Any]] = [
    {"id": "q1", "text": "why"},
    {"id": "q2", "text": "what"},
    {"id": "q3", "text": "unused"},
]
QRELS: list[dict[str, Any]] = [
    {"query-id": "q1", "corpus-id": "d1", "score": 1},
    {"query-id": "q1", "corpus-id": "d3", "score": 2},
    {"query-id": "q2", "corpus-id": "d2", "score": 1.0},
]
TOP_RANKED: list[dict[str, Any]] = [{"query-id": "q1", "corpus-ids": ["d1", "d2"]}]


def layout(folder: Path, prefix: str = "", suffix: str = ".jsonl", qrels: str = "qrels") -> Path:
    parts: dict[str, list[dict[str, Any]]] = {
        "corpus": CORPUS,
        "queries": QUERIES,
        qrels: QRELS,
        "top_ranked": TOP_RANKED,
    }
    for name, rows in parts.items():
        part = folder / f"{prefix}{name}"
        part.mkdir(parents=True)
        if suffix == ".jsonl":
            written(part / "test.jsonl", *rows)
            continue
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        shards = [rows[:1], rows[1:]] if len(rows) > 1 else [rows]
        for number, shard in enumerate(shards):
            path = part / f"test-{number:05}-of-{len(shards):05}.parquet"
            schema = pyarrow.Table.from_pylist(rows).schema
            parquet.write_table(pyarrow.Table.from_pylist(shard, schema=schema), path)
    return folder


@pytest.mark.parametrize(
    ("suffix", "qrels"), [(".jsonl", "qrels"), (".parquet", "qrels"), (".parquet", "data")]
)
def test_mtebs_layout_keeps_ids_grades_and_candidates(suffix: str, qrels: str, tmp_path: Path) -> None:
    source = layout(tmp_path / "AskUbuntu", suffix=suffix, qrels=qrels)
    assert convert(source, tmp_path / "out") == (2, 2, 1)  # q2 is judged and has no candidates
    candidates_file = read_candidates(tmp_path / "out/candidates.jsonl")
    assert candidates_file.queries == {"q1": "why", "q2": "what"}
    assert candidates_file.passages == {"d1": "Dough Yeast makes gas.", "d2": "Salt melts ice."}
    assert [len(hits) for hits in candidates_file.hits.values()] == [2, 0]
    assert read_qrels(tmp_path / "out/qrels.txt") == {"q1": {"d1": 1, "d3": 2}, "q2": {"d2": 1}}
    data = {"candidates": str(tmp_path / "out/candidates.jsonl"), "qrels": str(tmp_path / "out/qrels.txt")}
    assert open_dataset(DatasetSpec.model_validate(data)).qrels["q1"] == {"d1": 1, "d3": 2}


def test_one_language_of_mtebs_layout_is_named_by_its_prefix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout(tmp_path / "MIRACL", prefix="ar-")
    assert main(["convert", str(tmp_path / "MIRACL" / "ar"), "--out", str(tmp_path / "out")]) == 0
    assert "2 queries, 2 passages; queries without candidates, which count 0: 1" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "MIRACL" / "de"), "--out", str(tmp_path / "other")]) == 2
    assert main(["convert", str(tmp_path / "MIRACL"), "--out", str(tmp_path / "other")]) == 2
    assert "there is no top_ranked of reranking data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "rows", "message"),
    [
        ("top_ranked", [{"query-id": "q1", "corpus-ids": ["d9"]}], ":1: passage 'd9' is not in the corpus"),
        ("top_ranked", [{"query-id": "q9", "corpus-ids": ["d1"]}], ":1: query 'q9' is not among the queries"),
        ("top_ranked", [{"query-id": "q1", "corpus-ids": "d1"}], ":1: 'corpus-ids' must be a list of ids"),
        ("qrels", [{"query-id": "q9", "corpus-id": "d1", "score": 1}], "query 'q9' is judged and not among"),
        ("qrels", [{"query-id": "q1", "corpus-id": "d1", "score": 0.5}], ":1: the grade 0.5 is not a whole"),
        ("corpus", [CORPUS[0], CORPUS[0]], ":2: passage 'd1' appears a second time"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(
    part: str, rows: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    source = layout(tmp_path / "data")
    written(source / part / "test.jsonl", *rows)
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
