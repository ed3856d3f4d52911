"""The candidate pool: frozen, digested, self-verifying."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.candidates.building import build_pool
from benchmarks.candidates.frozen import Pool
from benchmarks.candidates.pool_folder import load_pool, save_pool
from benchmarks.datasets.specs import DatasetSpec
from benchmarks.first_stages.specs import Given
from rerankers import Candidate
from rerankers.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make_pool(
    text: str = "Der Fuchs schläft", grade: int = 2, first: float = 2.5, query: str = "fox?"
) -> Pool:
    return Pool.freeze(
        dataset="animals",
        first_stage={"kind": "bm25", "k1": 0.9},
        depth=2,
        queries={"q1": query, "q2": "a query without candidates"},
        qrels={"q1": {"d2": grade, "d1": 0}, "q2": {"d9": 1}, "other": {"d1": 3}},
        candidates={
            "q1": [Candidate("q1", "d1", text, first), Candidate("q1", "d2", "a\u2028line\nbreak", 1.25)]
        },
        unjudged=3,
        retrieve_seconds={"q1": 0.25, "q2": 0.5},
        fetch_seconds={"q1": 0.125},
    )


def test_a_pool_read_back_is_the_pool_written(tmp_path: Path) -> None:
    pool = make_pool()
    folder = save_pool(pool, tmp_path / "pools")
    assert folder == tmp_path / "pools" / pool.digest
    assert load_pool(folder) == pool


def test_a_judged_query_without_candidates_stays() -> None:
    requests = make_pool().requests()
    assert [(request.query_id, len(request.candidates)) for request in requests] == [("q1", 2), ("q2", 0)]


def test_queries_that_nobody_judged_are_left_out_and_counted(
    write_candidates: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    dataset = {key: str(tmp_path / name) for key, name in write_candidates(queries=5).items()}
    qrels = tmp_path / "qrels.txt"
    qrels.write_text(
        "".join(line for line in qrels.read_text().splitlines(keepends=True) if line[:2] in ("q1", "q3"))
    )
    pool = build_pool(DatasetSpec.model_validate(dataset), Given(), 4)
    assert ([*pool.queries], pool.unjudged) == (["q1", "q3"], 3)
    del dataset["qrels"]
    pool = build_pool(DatasetSpec.model_validate(dataset), Given(), 4)
    assert (len(pool.queries), pool.unjudged) == (5, 0)  # of no use to a measure, and all ranked


def test_grades_of_queries_outside_the_pool_are_left_out() -> None:
    assert make_pool().qrels == {"q1": {"d2": 2, "d1": 0}, "q2": {"d9": 1}}


def test_the_digest_is_sixteen_hex_digits_and_stable() -> None:
    assert make_pool().digest == make_pool().digest
    assert len(make_pool().digest) == 16
    assert int(make_pool().digest, 16) >= 0


def with_queries_swapped(pool: Pool) -> Pool:
    return Pool.freeze(
        dataset=pool.dataset,
        first_stage=pool.first_stage,
        depth=pool.depth,
        queries=dict(reversed(pool.queries.items())),
        qrels=pool.qrels,
        candidates=pool.candidates,
    )


@pytest.mark.parametrize(
    "changed",
    [
        make_pool(text="Der Fuchs schlief"),
        make_pool(grade=3),
        make_pool(first=2.5000001),
        make_pool(query="fox"),
        with_queries_swapped(make_pool()),
    ],
    ids=["text", "grade", "score", "query", "query order"],
)
def test_the_digest_tells_pools_apart(changed: Pool) -> None:
    assert changed.digest != make_pool().digest


def test_timings_and_names_do_not_change_the_digest() -> None:
    pool = make_pool()
    other = Pool.freeze(
        dataset="renamed",
        first_stage={},
        depth=7,
        queries=pool.queries,
        qrels=pool.qrels,
        candidates=pool.candidates,
    )
    assert other.digest == pool.digest


def test_equal_pools_are_equal_bytes(tmp_path: Path) -> None:
    first_folder = save_pool(make_pool(), tmp_path / "one")
    two = save_pool(make_pool(), tmp_path / "two")
    for path in sorted(first_folder.iterdir()):
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_saving_again_changes_nothing_and_leaves_no_scratch(tmp_path: Path) -> None:
    (tmp_path / f".{make_pool().digest}-left").mkdir()  # by a process that was killed
    folder = save_pool(make_pool(), tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = replace(make_pool(), retrieve_seconds={"q1": 9.0})
    assert save_pool(again, tmp_path) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_without_texts_a_pool_keeps_ids_scores_and_digest(tmp_path: Path) -> None:
    pool = make_pool()
    folder = save_pool(pool, tmp_path, store_text=False)
    assert "Fuchs" not in "".join(gzip.decompress(path.read_bytes()).decode() for path in folder.glob("*.gz"))
    loaded = load_pool(folder)
    assert loaded.digest == pool.digest
    assert [(c.doc_id, c.score, c.text) for c in loaded.candidates["q1"]] == [
        ("d1", 2.5, ""),
        ("d2", 1.25, ""),
    ]
    with pytest.raises(StoreError, match="read without its texts"):
        save_pool(loaded, tmp_path / "copy")


def test_texts_can_be_added_later(tmp_path: Path) -> None:
    save_pool(make_pool(), tmp_path, store_text=False)
    assert load_pool(save_pool(make_pool(), tmp_path, store_text=True)) == make_pool()


def rewrite(path: Path, old: str, new: str) -> None:
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new).encode()))


@pytest.mark.parametrize(("old", "new"), [('"d1",2.5', '"d1",2.6'), ('"d2":2', '"d2":3'), ("fox?", "cat?")])
def test_a_changed_pool_is_refused(tmp_path: Path, old: str, new: str) -> None:
    folder = save_pool(make_pool(), tmp_path, store_text=False)
    rewrite(folder / "pool.jsonl.gz", old, new)
    with pytest.raises(StoreError, match="was changed"):
        load_pool(folder)


def test_a_changed_text_is_refused(tmp_path: Path) -> None:
    folder = save_pool(make_pool(), tmp_path)
    rewrite(folder / "texts.jsonl.gz", "Fuchs", "Dachs")
    with pytest.raises(StoreError, match="text of 'd1' was changed or lost"):
        load_pool(folder)


@pytest.mark.parametrize("name", ["pool.jsonl.gz", "texts.jsonl.gz", "about.json"])
def test_a_cut_off_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = save_pool(make_pool(), tmp_path)
    (folder / name).write_bytes((folder / name).read_bytes()[:-12])
    with pytest.raises(StoreError, match="cannot be read"):
        load_pool(folder)


def test_a_missing_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        load_pool(tmp_path / "0123456789abcdef")


def test_a_pool_of_another_format_is_refused(tmp_path: Path) -> None:
    folder = save_pool(make_pool(), tmp_path)
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps({**about, "format_version": 2}))
    with pytest.raises(StoreError, match="unknown format"):
        load_pool(folder)
