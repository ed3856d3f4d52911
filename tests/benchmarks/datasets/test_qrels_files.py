"""Judgements of a folder are found under any name, and never passed over."""

from __future__ import annotations

import bz2
import gzip
from typing import TYPE_CHECKING

import pytest

from benchmarks.datasets.qrels_files import split_of
from benchmarks.datasets.sources import open_dataset
from benchmarks.datasets.specs import DatasetSpec
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

TREC = b"q1 0 d1 2\n"
BEIR = b"query-id\tcorpus-id\tscore\nq1\td1\t2\n"
JSON = b'{"query-id": "q1", "corpus-id": "d1", "score": 2}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "Owls hunt"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "owl?"}\n')
    return tmp_path


def write(folder: Path, **contents: bytes) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("qrels/test.tsv", BEIR),
        ("qrels/test.jsonl", JSON),
        ("qrels/test.txt", TREC),
        ("qrels/test.qrels", TREC),
        ("qrels/test", TREC),
        ("qrels/test.tsv.gz", gzip.compress(BEIR, mtime=0)),
        ("qrels/test.jsonl.bz2", bz2.compress(JSON)),
        ("qrels.txt", TREC),
        ("qrels.tsv", BEIR),
        ("qrels.jsonl", JSON),
        ("qrels", TREC),
        ("test.qrels", TREC),
        ("qrels.test.tsv", BEIR),
    ],
)
def test_judgements_are_read_under_any_usual_name(folder: Path, name: str, content: bytes) -> None:
    write(folder, **{name: content})
    assert open_dataset(str(folder)).qrels == {"q1": {"d1": 2}}


def test_parquet_judgements_are_refused_by_name(folder: Path) -> None:
    write(folder, **{"qrels/test-00000-of-00001.parquet": b"PAR1..."})
    with pytest.raises(InputError, match=r"qrels/test-00000-of-00001\.parquet: this is a Parquet file"):
        open_dataset(str(folder))


def test_two_files_of_one_split_are_refused(folder: Path) -> None:
    write(folder, **{"qrels/test.tsv": BEIR, "qrels/test.jsonl": JSON})
    with pytest.raises(
        InputError, match=r"qrels/test\.jsonl and qrels/test\.tsv are judgements of one split"
    ):
        open_dataset(str(folder))


def test_judgements_in_two_places_have_to_be_chosen_from(folder: Path) -> None:
    write(folder, **{"qrels/test.tsv": BEIR, "my.qrels.txt": TREC.replace(b"2", b"1")})
    with pytest.raises(InputError, match="several splits; set split to one of test, my"):
        open_dataset(str(folder))
    assert open_dataset(DatasetSpec(folder=str(folder), split="my")).qrels == {"q1": {"d1": 1}}
    assert open_dataset(DatasetSpec(folder=str(folder), split="test")).qrels == {"q1": {"d1": 2}}


def test_judgements_in_deeper_folders_are_not_passed_over(folder: Path) -> None:
    (folder / "qrels" / "en").mkdir(parents=True)
    (folder / "qrels" / "en" / "test.tsv").write_bytes(BEIR)
    with pytest.raises(
        InputError, match=r"qrels: judgements are looked for here, not in en/; move the files up"
    ):
        open_dataset(str(folder))


def test_a_note_about_the_judgements_is_no_split(folder: Path) -> None:
    write(folder, **{"qrels/README.md": b"how they were made", "qrels/dev.tsv": BEIR})
    assert open_dataset(str(folder)).qrels == {"q1": {"d1": 2}}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("test.tsv", "test"),
        ("test.tsv.gz", "test"),
        ("qrels.txt", "qrels"),
        ("qrels.dev.tsv", "dev"),
        ("dl19-qrels.txt", "dl19"),
        ("trec-dl.2019", "trec-dl.2019"),
    ],
)
def test_a_split_is_named_by_its_file(tmp_path: Path, name: str, split: str) -> None:
    assert split_of(tmp_path / name) == split


def test_judgements_beside_a_candidates_file_are_mentioned(tmp_path: Path) -> None:
    line = '{"query": {"text": "a", "qid": "q1"}, "hits": [{"content": "b", "docid": "d1", "score": 1}]}\n'
    (tmp_path / "top.jsonl").write_text(line)
    write(tmp_path, **{"qrels.txt": TREC})
    [note] = open_dataset(str(tmp_path / "top.jsonl")).notes
    assert note.startswith("qrels.txt lies beside top.jsonl and is not read")
    spec = DatasetSpec(candidates=str(tmp_path / "top.jsonl"), qrels=str(tmp_path / "qrels.txt"))
    assert open_dataset(spec).notes == []
