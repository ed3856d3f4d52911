"""Result folders with damaged files: refused in one line, and not a byte of them is lost."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

trial = settings(settings.get_profile("slow-faults"))

VALUES = ["experiment.json", "*/record.json", "pools/index.json", "pools/*/about.json"]
LINES = [
    {
        "query": {"text": f"query {q}", "qid": f"q{q}"},
        "hits": [{"content": f"passage {p}", "docid": f"d{p}", "score": 3.0 - p} for p in range(3)],
    }
    for q in range(2)
]


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """Return a finished run of two systems, and one other folder to merge with."""
    (folder / "hits.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    (folder / "qrels.txt").write_text("q0 0 d1 1\nq1 0 d2 2\n")
    for name, rerankers in (("whole", ["first-stage", "reverse"]), ("other", ["random"])):
        experiment = {
            "name": "test",
            "datasets": {"candidates": "hits.jsonl", "qrels": "qrels.txt"},
            "first_stages": "given",
            "depths": 3,
            "rerankers": rerankers,
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(experiment))
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            assert main(["run", str(folder / f"{name}.yaml"), "--out", str(folder / name)]) == 0
    return folder / "whole"


def commands(name: str, whole: Path, folder: Path) -> list[Any]:
    """Each command that reads a result folder."""
    out = folder.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    return {
        "table": ["table", folder],
        "run": ["run", whole.with_suffix(".yaml"), "--out", folder],
        "dry-run": ["run", whole.with_suffix(".yaml"), "--out", folder, "--dry-run"],
        "merge": ["merge", folder, whole.parent / "other", "--out", out],
        "export": ["export", folder, "--format", "trec", "--out", out],
        "import-run": [
            *("import-run", folder / "good.trec", "--first-stage", folder / "good.trec", "--qrels"),
            *(whole.parent / "qrels.txt", "--out", folder),
        ],
    }[name]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def damaged(whole: Path, member: str, content: bytes) -> Path:
    """Return a copy of the folder with one file replaced."""
    folder = whole.parent / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    (folder / "good.trec").write_text("q0 Q0 d1 1 2 x\nq1 Q0 d0 1 2 x\n")
    (folder / member).write_bytes(content)
    return folder


def member_of(whole: Path, pattern: str) -> str:
    return sorted(whole.glob(pattern))[0].relative_to(whole).as_posix()


def assert_nothing_is_lost(before: dict[str, bytes], after: dict[str, bytes], wrong: str) -> None:
    """Rankings and rows are there as they were; what the lock, the list and the records say may be new."""
    for name in before:
        if name.endswith(("ranking.trec", "queries.jsonl", ".gz", "about.json")) and name != wrong:
            assert after[name].startswith(before[name]), f"{name} was changed"
    assert wrong in after


@pytest.mark.parametrize("command", ["table", "run", "dry-run", "merge", "export", "import-run"])
@pytest.mark.parametrize(
    "pattern", ["experiment.json", "*/record.json", "pools/index.json", "pools/*/about.json"]
)
@given(data=st.data())
@trial
def test_a_wrong_value_in_a_result_folder_is_refused_by_the_name_of_its_file(
    judge: Any, broken: Any, dump: Callable[[Any], bytes], whole: Path, command: str, pattern: str, data: Any
) -> None:
    member = member_of(whole, pattern)
    valid = json.loads((whole / member).read_bytes())
    content = dump(data.draw(broken.value_of(valid)))
    folder = damaged(whole, member, content)
    before = contents(folder)
    if judge(commands(command, whole, folder), content, folder):
        assert_nothing_is_lost(before, contents(folder), member)


@pytest.mark.parametrize("command", ["table", "run", "dry-run", "merge", "export"])
@pytest.mark.parametrize(
    "pattern",
    [
        "experiment.json",
        "*/record.json",
        "*/queries.jsonl",
        "*/ranking.trec",
        "pools/*/*.gz",
        "pools/*/about.json",
    ],
)
@given(data=st.data())
@trial
def test_damaged_bytes_in_a_result_folder_are_refused_by_the_name_of_their_file(
    judge: Any, broken: Any, whole: Path, command: str, pattern: str, data: Any
) -> None:
    member = member_of(whole, pattern)
    content = data.draw(broken.bytes_of((whole / member).read_bytes()))
    folder = damaged(whole, member, content)
    before = contents(folder)
    if judge(commands(command, whole, folder), content, folder):
        assert_nothing_is_lost(before, contents(folder), member)


@given(data=st.data())
@trial
def test_a_row_of_results_with_wrong_values_is_refused_at_its_line(
    judge: Any, broken: Any, dump: Callable[[Any], bytes], whole: Path, data: Any
) -> None:
    member = member_of(whole, "*/queries.jsonl")
    lines = (whole / member).read_bytes().splitlines()
    content = b"\n".join([dump(data.draw(broken.value_of(json.loads(lines[0])))), *lines[1:], b""])
    folder = damaged(whole, member, content)
    judge(commands("table", whole, folder), content, folder)


@given(data=st.data())
@trial
def test_a_pool_that_was_forged_with_its_digest_is_refused_by_its_name(
    judge: Any, broken: Any, dump: Callable[[Any], bytes], whole: Path, data: Any
) -> None:
    pool = next(whole.glob("pools/*/pool.jsonl.gz"))
    rows = [json.loads(line) for line in gzip.decompress(pool.read_bytes()).splitlines()]
    changed = data.draw(broken.value_of(rows))
    content = b"".join(dump(row) + b"\n" for row in (changed if isinstance(changed, list) else [changed]))
    folder = damaged(whole, "good.trec", b"")
    digest = hashlib.sha256(content).hexdigest()[:16]
    forged = folder / "pools" / digest
    (folder / "pools" / pool.parent.name).rename(forged)
    (forged / "pool.jsonl.gz").write_bytes(gzip.compress(content))
    for path in [*folder.glob("*/record.json"), folder / "pools" / "index.json"]:
        path.write_text(path.read_text().replace(pool.parent.name, digest))
    judge(commands(data.draw(st.sampled_from(["table", "run", "export"])), whole, folder), content, folder)


@given(data=st.data())
@trial
def test_a_broken_ledger_of_what_was_spent_stops_the_run_before_anything_is_paid(
    judge: Any, broken: Any, whole: Path, data: Any
) -> None:
    content = data.draw(broken.bytes_of(b'{"dollars": 0.5}\n{"dollars": -0.25}\n'))
    folder = damaged(whole, "good.trec", b"")
    (folder / "spending.jsonl").write_bytes(content)
    for record in folder.glob("*/record.json"):
        record.write_text(record.read_text().replace('"done"', '"running"'))
    arguments = [*commands("run", whole, folder), "--budget", "3"]
    if judge(arguments, content, folder / "spending.jsonl"):
        assert (folder / "spending.jsonl").read_bytes() == content
