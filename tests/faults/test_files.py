"""Experiment files, candidates, runs, qrels and collections: broken in every way, refused in one line."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

trial = settings(settings.get_profile("faults"))

LINE = {
    "query": {"text": "what is it", "qid": "q1"},
    "hits": [
        {"content": "a passage", "qid": "q1", "docid": "d1", "rank": 1, "score": 2.5},
        {"content": "another", "qid": "q1", "docid": "d2", "rank": 2, "score": 1.5},
    ],
}
CANDIDATES = json.dumps(LINE) + "\n" + json.dumps(LINE).replace("q1", "q2") + "\n"
QRELS = "q1 0 d1 1\nq1 0 d2 0\nq2 0 d1 2\n"
BEIR_QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t0\n"
RUN = "q1 Q0 d1 1 2.5 tag\nq1 Q0 d2 2 1.5 tag\nq2 Q0 d2 1 9e-1 tag\nq2 Q0 d1 2 .5 tag\n"
RANKGPT = {
    "model": "m",
    "base_url": "http://localhost:1/v1",
    "window": 2,
    "step": 1,
    "price": {"input": 1.0, "cached": 0.5, "output": 2.0},
}
EXPERIMENT: dict[str, Any] = {
    "name": "test",
    "datasets": [{"candidates": "hits.jsonl", "qrels": "qrels.txt", "name": "tiny"}],
    "first_stages": ["given", {"kind": "run", "path": "run.trec"}],
    "depths": [1, 2],
    "rerankers": [
        "first-stage",
        {"name": "random", "label": "shuffled {seed}", "options": {"seed": [0, 1]}},
        {"name": "rankgpt", "options": RANKGPT},
    ],
    "measures": ["nDCG@10", "RR@10"],
    "protocol": {"mode": "latency", "warmup": 1, "repeats": 2, "seed": 3},
    "limit": 2,
    "budget": 1.5,
    "store_text": True,
}


@pytest.fixture(scope="module")
def files(folder: Path) -> Path:
    """Return valid files, one of which is then replaced."""
    (folder / "hits.jsonl").write_text(CANDIDATES)
    (folder / "qrels.txt").write_text(QRELS)
    (folder / "run.trec").write_text(RUN)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    return folder


def test_the_files_are_right_before_they_are_broken(judge: Any, files: Path) -> None:
    assert not judge(["run", files / "experiment.yaml", "--dry-run"], b"")
    assert not judge(rerank(files, files / "hits.jsonl"), b"")
    assert not judge(imported(files), b"")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rerank(files: Path, candidates: Path) -> list[str | Path]:
    chosen = ["rerank", "--reranker", "first-stage", "--candidates"]
    return [*chosen, candidates, "--output", files / "out.trec"]


def imported(
    files: Path, run: str = "run.trec", first: str = "run.trec", qrels: str = "qrels.txt"
) -> list[Any]:
    options = ["--first-stage", files / first, "--qrels", files / qrels, "--out", files / "imported"]
    return ["import-run", files / run, *options]


@given(data=st.data())
@trial
def test_an_experiment_with_wrong_values_is_refused_at_its_line(
    judge: Any, broken: Any, files: Path, data: st.DataObject
) -> None:
    content = yaml.dump(data.draw(broken.value_of(EXPERIMENT)), sort_keys=False).encode()
    path = files / "changed.yaml"
    path.write_bytes(content)
    judge(["run", path, "--dry-run"], content, path, files, "rerankbench: /: ")  # as it was written there


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("/", "there is no corpus.jsonl, .csv, .tsv or .parquet"),
        ({"candidates": "hits.jsonl", "qrels": "/"}, "cannot be read"),
    ],
)
def test_the_root_folder_in_place_of_data_is_refused_by_its_name(
    judge: Any, files: Path, dataset: Any, said: str
) -> None:
    path = files / "root.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "datasets": dataset}))
    assert judge(["run", path, "--dry-run"], path.read_bytes(), f"rerankbench: /: {said}")


def test_a_depth_that_nobody_can_count_to_is_refused_at_its_line(judge: Any, files: Path) -> None:
    path = files / "deep.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, "depths": 10**30}))
    assert judge(["run", path, "--dry-run"], path.read_bytes(), f"{path}:6: depths")


@given(data=st.data())
@trial
def test_an_experiment_that_is_no_yaml_is_refused_at_its_line(
    judge: Any, broken: Any, files: Path, data: st.DataObject
) -> None:
    content = data.draw(broken.bytes_of(yaml.safe_dump(EXPERIMENT, sort_keys=False).encode()))
    path = files / "mutated.yaml"
    path.write_bytes(content)
    judge(["run", path, "--dry-run"], content, path, files)


@given(
    key=st.sampled_from(
        ["limit", "name", "depths", "protocol", "protocol.seed", "rerankers.0", "x.y", "", "."]
    ),
    value=st.one_of(
        st.sampled_from(
            ["", "[", "{a", "&a [*a]", "!!binary x", "2001-99-99", "'", "%", "1e999", "- -", "{[]: 1}"]
        ),
        st.text(max_size=5),
    ),
)
@trial
def test_an_override_that_cannot_be_is_refused_by_its_name(
    judge: Any, files: Path, key: str, value: str
) -> None:
    given_ = f"{key}={value}"
    arguments = ["run", files / "experiment.yaml", "--dry-run", f"--set={given_}"]
    judge(arguments, given_.encode(), " ".join(f"--set {given_}".split()), "experiment.yaml", "--set")


@given(data=st.data())
@trial
def test_candidates_with_wrong_values_are_refused_at_their_line(
    judge: Any, broken: Any, dump: Callable[[Any], bytes], files: Path, data: st.DataObject
) -> None:
    lines = [dump(data.draw(broken.value_of(LINE))), CANDIDATES.encode()]
    content = b"\n".join(lines)
    path = files / "changed.jsonl"
    path.write_bytes(content)
    judge(rerank(files, path), content, path)


@given(data=st.data(), zipped=st.booleans())
@trial
def test_candidates_with_damaged_bytes_are_refused_at_their_line(
    judge: Any, broken: Any, files: Path, data: st.DataObject, zipped: bool
) -> None:
    valid = gzip.compress(CANDIDATES.encode(), mtime=0) if zipped else CANDIDATES.encode()
    content = data.draw(broken.bytes_of(valid))
    path = files / "mutated.jsonl"
    path.write_bytes(content)
    judge(rerank(files, path), content, path)


@pytest.mark.parametrize("name", ["run.trec", "first.trec", "qrels.txt"])
@given(data=st.data())
@trial
def test_a_damaged_run_or_qrels_is_refused_at_its_line_and_changes_no_result(
    judge: Any, broken: Any, files: Path, name: str, data: st.DataObject
) -> None:
    valid = data.draw(st.sampled_from([QRELS, BEIR_QRELS])) if name == "qrels.txt" else RUN
    content = data.draw(broken.bytes_of(valid.encode()))
    path = files / f"mutated-{name}"
    path.write_bytes(content)
    before = contents(files / "imported")
    role = {"run.trec": "run", "first.trec": "first", "qrels.txt": "qrels"}[name]
    if judge(imported(files, **{role: path.name}), content, path, "run.trec"):
        assert before == {
            file: file.read_bytes() for file in (files / "imported").rglob("*") if file.is_file()
        }


@pytest.mark.parametrize(
    ("role", "line"),
    [("run", "q1 Q0 {} 1 2.5 tag"), ("first", "q1 Q0 d1 1 {}x tag"), ("qrels", "q1 0 d1 {}x")],
)
def test_a_name_of_thousands_of_characters_is_not_repeated_whole(
    judge: Any, files: Path, role: str, line: str
) -> None:
    path = files / f"long-{role}"
    path.write_text(line.format("9" * 5000) + "\n")
    assert judge(imported(files, **{role: path.name}), path.read_bytes(), path)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
@given(data=st.data())
@trial
def test_a_damaged_collection_is_refused_at_its_line(
    judge: Any, broken: Any, files: Path, name: str, data: st.DataObject
) -> None:
    contents = {
        "corpus.jsonl": b'{"_id": "d1", "title": "t", "text": "one"}\n{"_id": "d2", "text": "two"}\n',
        "queries.jsonl": b'{"_id": "q1", "text": "what is it"}\n{"_id": "q2", "text": "why"}\n',
        "qrels/test.tsv": BEIR_QRELS.encode(),
    }
    content = data.draw(broken.bytes_of(contents[name]))
    collection = files / "collection"
    for member, valid in contents.items():
        (collection / member).parent.mkdir(parents=True, exist_ok=True)
        (collection / member).write_bytes(content if member == name else valid)
    experiment = {
        **EXPERIMENT,
        "datasets": [{"folder": "collection"}],
        "first_stages": [{"kind": "run", "path": "run.trec"}],
        "rerankers": ["first-stage"],
    }
    path = files / "collection.yaml"
    path.write_text(yaml.safe_dump(experiment))
    out = files / "collection-results"
    judge(
        ["run", path, "--out", out], content, collection / name, "run.trec", collection / "corpus.jsonl", out
    )
