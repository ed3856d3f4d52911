"""Candidates of other programs are read as those programs mean them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.candidates.file import read_candidates
from benchmarks.cli.main import main
from benchmarks.datasets.readers import read_run
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

QUERY = '{"query": {"qid": "q", "text": "t"}, "hits": []}'
RANK_LLM: list[dict[str, Any]] = [
    {
        "query": {"text": "which?", "qid": "q1"},
        "candidates": [{"docid": "d1", "score": 2, "doc": {"text": "x"}}],
    },
    {"query": {"text": "who?", "qid": 2}, "candidates": []},
]


def lines(*values: dict[str, Any]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_as_json_lines_are(indent: int | None, tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text(lines(*RANK_LLM))
    (tmp_path / "array.json").write_text(json.dumps(RANK_LLM, indent=indent))
    assert read_candidates(tmp_path / "array.json") == read_candidates(tmp_path / "lines.jsonl")
    assert read_candidates(tmp_path / "array.json").hits == {"q1": [("d1", 2.0)], "2": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", ":1: the array is empty"),
        (f"[{QUERY},\n 7]", ":2: expected an array of objects, found int"),
        (f"[{QUERY}\n\n {QUERY}]", ":3: broken JSON in an array .expected ','"),
        ('[\n{"query": "x",\n "hits": [}]', ":2: broken JSON in an array"),
        ('[\n{"query": {"qid": "q"}, "hits": []}\n]', ":2: query: the key 'text' is missing"),
        (
            f"[{QUERY}]\n[1]",
            ":2: there is more behind the JSON array",
        ),
    ],
)
def test_a_fault_in_an_array_is_named_by_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "array.json").write_text(text)
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        read_candidates(tmp_path / "array.json")


def test_trec_rag_segments_are_title_and_segment(tmp_path: Path) -> None:
    doc = {
        "url": "https://x",
        "title": "Dough",
        "headings": "Bread",
        "segment": "Yeast makes gas.",
        "start_char": 0,
    }
    hit = {"docid": "msmarco_v2.1_doc_00_0#1_2", "score": 9.5, "doc": doc}
    (tmp_path / "rag.jsonl").write_text(
        lines({"query": {"qid": "2024-1", "text": "why?"}, "candidates": [hit]})
    )
    candidates_file = read_candidates(tmp_path / "rag.jsonl")
    assert candidates_file.passages == {"msmarco_v2.1_doc_00_0#1_2": "Dough Yeast makes gas."}


def test_a_doc_may_be_a_plain_text(tmp_path: Path) -> None:
    hit = {"doc": "Yeast makes gas.", "docid": "d1", "score": 9.5}
    (tmp_path / "hits.jsonl").write_text(lines({"query": {"text": "why?", "qid": "q"}, "candidates": [hit]}))
    assert read_candidates(tmp_path / "hits.jsonl").passages == {"d1": "Yeast makes gas."}


@pytest.mark.parametrize(
    ("query_id", "doc_id", "text"),
    [
        ("qid", "docno", "text"),
        ("query_id", "doc_id", "contents"),
        ("qid", "docid", "content"),
        ("qid", "pid", "text"),
    ],
)
def test_pairs_are_grouped_by_query_and_ordered_by_rank(
    query_id: str, doc_id: str, text: str, tmp_path: Path
) -> None:
    rows = [("q1", "d2", 1, 5.0), ("q2", "d1", 0, 1.0), ("q1", "d1", 0, 5.0), ("q1", "d3", 2, 4.0)]
    written = [
        {
            query_id: query,
            "query": f"text of {query}",
            doc_id: doc,
            text: f"text of {doc}",
            "rank": rank,
            "score": score,
        }
        for query, doc, rank, score in rows
    ]
    (tmp_path / "pairs.jsonl").write_text(lines(*written))
    candidates_file = read_candidates(tmp_path / "pairs.jsonl")
    assert candidates_file.queries == {"q1": "text of q1", "q2": "text of q2"}
    assert candidates_file.hits == {"q1": [("d1", 5.0), ("d2", 5.0), ("d3", 4.0)], "q2": [("d1", 1.0)]}
    assert candidates_file.passages["d3"] == "text of d3"


def test_pairs_without_ranks_are_ordered_by_score_and_without_scores_as_the_file(tmp_path: Path) -> None:
    pairs = [
        {"qid": "q", "query": "?", "docno": doc_id, "title": "T", "text": doc_id, "score": score}
        for doc_id, score in (("a", 1.0), ("b", 2.0), ("c", 2.0))
    ]
    (tmp_path / "pairs.jsonl").write_text(lines(*pairs))
    candidates_file = read_candidates(tmp_path / "pairs.jsonl")
    assert candidates_file.hits == {"q": [("c", 2.0), ("b", 2.0), ("a", 1.0)]}  # the tie as in trec_eval
    assert candidates_file.passages["a"] == "T a"
    for pair in pairs:
        del pair["score"]
    (tmp_path / "pairs.jsonl").write_text(lines(*pairs))
    assert read_candidates(tmp_path / "pairs.jsonl").hits == {"q": [("a", 3.0), ("b", 2.0), ("c", 1.0)]}


PAIR = {"qid": "q", "query": "?", "docno": "a", "text": "x", "rank": 1}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"docno": "a", "rank": 2}, ":2: passage 'a' appears a second time"),
        ({"docno": "b"}, ":2: rank 1 appears a second time"),
        ({"docno": "b", "query": "other", "rank": 2}, ":2: query 'q' had another text before"),
        ({"docno": "b", "rank": None}, ":2: 'rank' is missing, and other pairs of its query have it"),
        ({"docno": "b", "query": " ", "rank": 2}, ":2: the query is empty"),
        ({"docno": None, "rank": 2}, ":2: 'docno' must be a string, not NoneType"),
        ({"docno": "b", "text": None, "rank": 2}, ":2: 'text' must be a string"),
    ],
)
def test_pairs_that_contradict_each_other_are_refused(
    second: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "pairs.jsonl").write_text(lines(PAIR, {**PAIR, **second}))
    with pytest.raises(InputError, match=message):
        read_candidates(tmp_path / "pairs.jsonl")


def test_ms_marcos_table_of_queries_and_passages_is_read(tmp_path: Path) -> None:
    (tmp_path / "top1000.tsv").write_text(
        "7\t11\twhy does dough rise\tYeast.\n7\t12\twhy does dough rise\tSalt.\n"
    )
    candidates_file = read_candidates(tmp_path / "top1000.tsv")
    assert (candidates_file.queries, candidates_file.passages) == (
        {"7": "why does dough rise"},
        {"11": "Yeast.", "12": "Salt."},
    )
    assert candidates_file.hits == {"7": [("11", 2.0), ("12", 1.0)]}


def test_a_table_with_named_columns_is_read(tmp_path: Path) -> None:
    rows = ["docno\tqid\tquery\ttext\trank\tscore", "b\tq\t?\tx\t1\t2.5", "a\tq\t?\ty\t0\t3"]
    (tmp_path / "pairs.tsv").write_text("\n".join(rows))
    candidates_file = read_candidates(tmp_path / "pairs.tsv")
    assert (candidates_file.queries, candidates_file.hits) == ({"q": "?"}, {"q": [("a", 3.0), ("b", 2.5)]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q1 Q0 d1 1 2.5 bm25\n", ":1: this is a TREC run, which has no texts"),
        ("q1\tQ0\td1\t1\t2.5\tbm25\n", ":1: this is a TREC run, which has no texts"),
        ("7\t11\tquery\n", ":1: expected 4 columns .qid, pid, query, text., separated by tabs, found 3"),
        ("7\t11\twhy\tx\n7\t12\twhy\n", ":2: expected 4 columns"),
        ("qid\tpid\tquery\ttext\n", "pairs.tsv: names columns and holds nothing else"),
        ("qid\tpid\tquery\ttext\tscore\n7\t12\twhy\tx\thigh\n", ":2: 'score' must be a number, not str"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_candidates(tmp_path / "pairs.tsv")


def test_ids_may_be_local_to_a_query_where_a_file_is_reranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RankGPT's users number the passages of each query from 0."""
    hits = [
        [
            {"docid": str(place), "content": f"passage {place} of {q}", "score": float(2 - place)}
            for place in range(2)
        ]
        for q in range(2)
    ]
    queries = [{"query": {"text": "which?", "qid": f"q{q}"}, "hits": hits[q]} for q in range(2)]
    path, run = tmp_path / "hits.jsonl", tmp_path / "run.trec"
    path.write_text(lines(*queries))
    assert main(["rerank", "--reranker", "reverse", "--candidates", str(path), "--output", str(run)]) == 0
    assert {query_id: [doc_id for doc_id, _ in hits] for query_id, hits in read_run(run).items()} == {
        "q0": ["1", "0"],
        "q1": ["1", "0"],
    }
    candidates_file = read_candidates(path, ids_are_local=True)
    assert (candidates_file.text("q0", "1"), candidates_file.text("q1", "1")) == (
        "passage 1 of 0",
        "passage 1 of 1",
    )
    with pytest.raises(InputError, match="passage '0' had another content before"):
        read_candidates(path)


def test_candidates_in_parquet_are_read(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        pyarrow.Table.from_pylist([PAIR, {**PAIR, "docno": "b", "rank": 0}]), tmp_path / "p.parquet"
    )
    assert read_candidates(tmp_path / "p.parquet").hits == {"q": [("b", 2.0), ("a", 1.0)]}
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"broken\.parquet: cannot be read as Parquet"):
        read_candidates(tmp_path / "broken.parquet")
