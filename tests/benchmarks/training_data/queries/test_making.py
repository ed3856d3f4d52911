"""Queries are made from passages, name their passage, and never repeat one another or a test query."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.cli.main import main
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.training_data.distillation import distill
from benchmarks.training_data.distillation_settings import load_distillation
from benchmarks.training_data.queries.evaluation_queries import is_test_split
from rerankers.errors import InputError
from rerankers.training.data.records import read_alignment, read_ranking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USABLE = {"d0/0", "d1/0", "d4/0", "d6/0", "d7/0"}
"""All titles but a repeated one, one of a single word, and an empty one; d0's and d2's are the same."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path / "cache"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lists(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines(path) if "about" not in line]


def counts(path: Path) -> dict[str, Any]:
    """Return the text on queries in the last line about a file of lists."""
    [*_, last] = (line["about"]["queries"] for line in lines(path) if "queries" in line.get("about", {}))
    return dict(last)


def test_titles_are_queries_where_a_collection_has_none(
    collection: Path, write_settings: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = collection / "lists.jsonl"
    assert main(["distill", str(write_settings()), "--out", str(out)]) == 0
    rows = lists(out)
    same = {"d0/0", "d2/0"}
    assert {row["query_id"] for row in rows} | same == USABLE | same
    assert len(read_ranking(out)) == len(rows) == 5
    for row in rows:
        assert row["source_doc_id"] == row["query_id"].removesuffix("/0")
    assert counts(out) == {
        "kind": "titles",
        "passages": 9,
        "questions": 9,
        "usable": 5,
        "faults": {"duplicate": 1, "empty": 1, "no_text": 1, "too_short": 1},
    }
    error_output = capsys.readouterr().err
    assert (
        "5 usable queries from 9 passages, without 1 duplicate, 1 empty, 1 no text, 1 too short"
        in error_output
    )


def test_alignment_data_need_no_queries_either(collection: Path) -> None:
    out = collection / "pairs.jsonl"
    assert main(["train", "align-data", str(collection / "abstracts"), "--out", str(out)]) == 0
    assert len(read_alignment(out)) == 8  # one passage has no text


def test_every_question_stands_in_a_file_beside_the_lists(
    collection: Path, write_settings: Callable[..., Path]
) -> None:
    distill(load_distillation(str(write_settings())), collection / "lists.jsonl")
    first, *rows = lines(collection / "lists.queries.jsonl")
    assert first["about"]["queries"]["kind"] == "titles"
    assert {row["doc_id"] for row in rows} == {f"d{number}" for number in range(9)}
    [deadlock] = [row for row in rows if row["doc_id"] == "d3"]
    assert deadlock["questions"] == [{"query_id": "d3/0", "query": "Deadlock", "fault": "too_short"}]


@pytest.mark.parametrize("cut", [1, 300, 3000, 10**9])
def test_the_seed_decides_everything_and_a_killed_run_changes_nothing(
    collection: Path, write_settings: Callable[..., Path], cut: int
) -> None:
    path = str(write_settings(batch=2))
    whole, killed = collection / "whole.jsonl", collection / "killed.jsonl"
    distill(load_distillation(path), whole)
    distill(load_distillation(path), killed)
    assert killed.read_bytes() == whole.read_bytes()
    killed.write_bytes(whole.read_bytes()[:-cut])
    questions = collection / "killed.queries.jsonl"
    questions.write_bytes(questions.read_bytes()[: max(0, 900 - cut)])
    distill(load_distillation(path), killed)
    assert killed.read_bytes() == whole.read_bytes()
    assert questions.read_bytes() == (collection / "whole.queries.jsonl").read_bytes()
    other = collection / "other.jsonl"
    distill(load_distillation(path, ["seed=1"]), other)
    assert [row["query_id"] for row in lists(other)] != [row["query_id"] for row in lists(whole)]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '{"doc_id": "d1"}',
        '{"doc_id": "d1", "questions": "what"}',
        '{"doc_id": "d1", "questions": [{"query_id": "d1/0"}]}',
        '{"doc_id": 1, "questions": []}',
        '{"doc_id": "d1", "questions": [{"query_id": "d1/0", "query": 7}]}',
        '{"doc_id": "d1", "questions": [{"query_id": "d1/0", "query": "a b", "fault": []}]}',
        '{"about": {}}',
    ],
)
def test_a_broken_file_of_questions_is_refused_by_its_line(
    collection: Path, write_settings: Callable[..., Path], line: str
) -> None:
    path = str(write_settings())
    distill(load_distillation(path), collection / "lists.jsonl")
    questions = collection / "lists.queries.jsonl"
    about = questions.read_text().splitlines()[0]
    questions.write_text(f"{about}\n{line}\n")
    with pytest.raises(InputError, match=r"lists\.queries\.jsonl:2: this is not a line of a distillation"):
        distill(load_distillation(path), collection / "lists.jsonl")


def test_held_out_lists_are_those_that_training_skips(
    collection: Path, write_settings: Callable[..., Path]
) -> None:
    path = str(write_settings())
    held_out, training = collection / "dev.jsonl", collection / "train.jsonl"
    assert distill(load_distillation(path, ["limit=2"]), held_out) == 2
    assert distill(load_distillation(path, ["skip=2"]), training) == 3
    ids = [{row["query_id"] for row in lists(file)} for file in (held_out, training)]
    assert not ids[0] & ids[1]
    with pytest.raises(InputError, match="other settings"):
        distill(load_distillation(path, ["skip=2"]), held_out)


def test_the_passage_of_a_query_counts_as_relevant(
    collection: Path, write_settings: Callable[..., Path]
) -> None:
    out = collection / "lists.jsonl"
    candidates = {"depth": 8, "per_list": 4}
    distill(load_distillation(str(write_settings(qrels_first=True, candidates=candidates))), out)
    for row in lists(out):
        assert row["doc_ids"][row["ranking"][0]] == row["source_doc_id"]


@pytest.mark.parametrize("split", ["test", "judgements"])
def test_the_collections_own_test_queries_are_kept_out(
    collection: Path,
    write_settings: Callable[..., Path],
    judge: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    split: str,
) -> None:
    judge(collection, split)
    out = collection / "lists.jsonl"
    distill(load_distillation(str(write_settings())), out)
    assert "d6" not in {row["source_doc_id"] for row in lists(out)}
    assert counts(out)["faults"]["test_query"] == 1
    error_output = capsys.readouterr().err
    assert "kept out of training: 1 (abstracts" in error_output
    assert "repeat a test query: 1 (" in error_output
    [row] = [row for row in lines(collection / "lists.queries.jsonl") if row.get("doc_id") == "d6"]
    assert row["questions"][0]["fault"] == "test_query"
    assert row["questions"][0]["repeats"].startswith("context free")


def test_named_test_queries_are_kept_out_of_given_ones_too(
    collection: Path,
    write_settings: Callable[..., Path],
    judge: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    judge(collection, "train")
    for number, text in enumerate(("hashing for beginners", "what is a B-tree")):
        judge(collection, f"other{number}", f"o{number}", text)
    topics = collection / "topics.tsv"
    topics.write_text("7\tIn cubic time, parsing of context-free languages\n")
    path = write_settings(
        dataset={"folder": "./abstracts", "split": "train"}, queries="all", test_queries=["./topics.tsv"]
    )
    out = collection / "lists.jsonl"
    assert distill(load_distillation(str(path)), out) == 2
    assert counts(out) == {"kind": "all", "usable": 2, "faults": {"test_query": 1}}
    assert "repeat a test query: 1 (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dataset_id", "is_test"),
    [
        ("bundled", True),
        ("beir/scifact/test", True),
        ("beir/scifact/train", False),
        ("msmarco-passage/trec-dl-2019/judged", True),
        ("msmarco-passage/train/judged", False),
        ("msmarco-passage/dev/small", False),
        ("cord19/trec-covid", True),
        ("trec-tot/2023/train", False),
        ("vaswani", False),
    ],
)
def test_a_split_is_known_by_its_name(dataset_id: str, is_test: bool) -> None:
    assert is_test_split(DatasetSpec(id=dataset_id)) is is_test


def test_a_test_split_is_warned_of(
    collection: Path,
    write_settings: Callable[..., Path],
    judge: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    judge(collection, "test")
    assert distill(load_distillation(str(write_settings(queries="judged"))), collection / "lists.jsonl") == 1
    assert "warning: the queries of abstracts are a test split" in capsys.readouterr().err
    judge(collection, "train", "o1", "hashing with linear probing")
    spec = {"folder": "./abstracts", "split": "train"}
    distill(
        load_distillation(str(write_settings(queries="judged", dataset=spec))), collection / "other.jsonl"
    )
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"queries": "title"}, "did you mean"),
        ({"queries": {"kind": "titles", "field": "heading"}}, "no passage has a 'heading'"),
        ({"queries": {"kind": "titles", "longest_words": 0}}, "longest_words"),
        ({"queries": {"kind": "titles", "longest": 3}}, "did you mean longest_words"),
        ({"queries": {"kind": "chat"}}, "'model' is missing"),
        ({"queries": {"kind": "chat", "model": "m", "prompt": "ask {this}"}}, "needs {passage}"),
        ({"queries": {"kind": "chat", "model": "m", "prompt": "quesion"}}, "did you mean question"),
        ({"queries": {"kind": "seq2seq", "model": "m", "top_k": 1, "per_passage": 2}}, "the same question"),
        ({"first_stage": {"kind": "run", "path": "x.trec"}}, "use bm25 or dense"),
        ({"test_queries": [{"queries": "a.tsv", "id": "b"}]}, "exactly one of id, folder and queries"),
        ({"test_queries": ["./nowhere.tsv"]}, "nowhere.tsv"),
        ({"teacher": {"name": "random", "options": {"sead": 1}}}, "did you mean seed"),
        ({"queries": "judged"}, "queries.jsonl"),
        ({"skip": 5}, "no training query is left"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(
    collection: Path, write_settings: Callable[..., Path], changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError) as raised:
        distill(load_distillation(str(write_settings(**changes))), collection / "lists.jsonl")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (collection / "lists.jsonl").exists()
