"""Other programs' data come in, and go out again, without a passage, a grade or a place lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.candidates.file import read_candidates
from benchmarks.candidates.frozen import Pool
from benchmarks.cli.main import main
from benchmarks.datasets.readers import read_run
from benchmarks.datasets.sources import open_dataset
from benchmarks.results.exchange.interchange import write_beir, write_ranked
from rerankers.errors import InputError
from rerankers.interface import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.results.exchange.interchange import Program


@pytest.fixture
def pool() -> Pool:
    hits = [Candidate("q1", "d1", "é one", 2.0), Candidate("q1", "d2", "two", 1.0)]
    return Pool.freeze(
        dataset="mine",
        first_stage={"kind": "given"},
        depth=2,
        queries={"q1": "which?", "q2": "none"},
        qrels={"q1": {"d2": 1}},
        candidates={"q1": hits},
    )


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_rank_llm_s_requests_are_read(tmp_path: Path) -> None:
    candidates = [
        {"docid": "d1", "score": 2.5, "doc": {"title": "A title", "contents": "and a text"}},
        {"docid": 7, "score": 1.5, "doc": {"segment": "a segment", "url": "ignored"}},
    ]
    line = {"query": {"text": "which?", "qid": 264014}, "candidates": candidates, "invocations_history": []}
    candidates_file = read_candidates(written(tmp_path / "requests.jsonl", line))
    assert candidates_file.queries == {"264014": "which?"}
    assert candidates_file.passages == {"d1": "A title and a text", "7": "a segment"}
    assert candidates_file.hits == {"264014": [("d1", 2.5), ("7", 1.5)]}


def test_rankgpt_s_results_are_read(tmp_path: Path) -> None:
    hit = {"content": "Title: A Content: B", "qid": 1, "docid": "3", "rank": 1, "score": 18.9}
    candidates_file = read_candidates(written(tmp_path / "hits.jsonl", {"query": "which?", "hits": [hit]}))
    assert candidates_file.hits == {"1": [("3", 18.9)]}


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({"docid": "d", "score": 1.0, "doc": 7}, ":1: hit 1: 'doc' must be an object or a text, not int"),
        ({"docid": "d", "score": 1.0, "doc": {"url": "x"}}, ":1: hit 1, doc: the key 'text' is missing"),
        ({"docid": "d", "score": 1.0}, ":1: hit 1: the key 'content' is missing"),
    ],
)
def test_a_candidate_without_a_text_is_refused(
    candidate: dict[str, Any], message: str, tmp_path: Path
) -> None:
    line = {"query": {"text": "which?", "qid": "q"}, "candidates": [candidate]}
    with pytest.raises(InputError, match=message):
        read_candidates(written(tmp_path / "requests.jsonl", line))


@pytest.mark.parametrize("program", ["rank-llm", "rankgpt"])
def test_a_ranking_written_is_a_candidates_file_again(program: Program, pool: Pool, tmp_path: Path) -> None:
    path = write_ranked(program, pool, {"q1": [("d2", 0.9), ("d1", 0.1)]}, tmp_path / "ranked.jsonl")
    again = read_candidates(path)
    assert again.queries == {"q1": "which?"}
    assert again.hits == {"q1": [("d2", 0.9), ("d1", 0.1)]}
    assert again.passages == {"d1": "é one", "d2": "two"}
    line = json.loads(path.read_text())
    if program == "rankgpt":
        assert line["query"] == "which?"
        assert [hit["rank"] for hit in line["hits"]] == [1, 2]
    else:
        assert line["candidates"][0] == {"docid": "d2", "score": 0.9, "doc": {"text": "two"}}


def test_a_pool_written_is_a_beir_folder(pool: Pool, tmp_path: Path) -> None:
    dataset = open_dataset(str(write_beir(pool, tmp_path / "beir")))
    assert dataset.queries == pool.queries
    assert dataset.qrels == pool.qrels
    assert dataset.texts(["d1", "d2"]) == {"d1": "é one", "d2": "two"}


def test_texts_that_were_not_stored_cannot_be_written(tmp_path: Path) -> None:
    bare = Pool.freeze(
        dataset="bare",
        first_stage={},
        depth=1,
        queries={"q": "which?"},
        qrels={},
        candidates={"q": [Candidate("q", "d", "", 1.0)]},
    )
    with pytest.raises(InputError, match="stored without its texts"):
        write_beir(bare, tmp_path)


def test_results_go_out_in_every_format(
    write_experiment: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(write_experiment(queries=2, depth=3)), "--out", str(out)]) == 0
    # of TREC: a run and its metadata for each of two systems, and the judgements
    for name, files in {"rank-llm": 2, "rankgpt": 2, "beir": 1, "trec": 2 * 2 + 1}.items():
        capsys.readouterr()
        assert main(["export", str(out), "--format", name, "--out", str(tmp_path / name)]) == 0
        assert len(capsys.readouterr().out.splitlines()) == files
    [reverse] = (tmp_path / "rankgpt").glob("*reverse*")
    [run] = (tmp_path / "trec").glob("*reverse*.trec")
    assert {query_id: [doc_id for doc_id, _ in hits] for query_id, hits in read_run(run).items()} == {
        query_id: [doc_id for doc_id, _ in hits] for query_id, hits in read_candidates(reverse).hits.items()
    }
