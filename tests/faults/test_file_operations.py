"""A kill and a full disk at every file operation of a command: run again, it ends as an undisturbed one.

A few operations of each command are disturbed, spread over all of them; `RERANKBENCH_HYPOTHESIS=nightly`
disturbs every one.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.cli.main import main
from benchmarks.measuring.environment import environment
from benchmarks.results.store import read_results
from tests.faults.conftest import NIGHTLY
from tests.faults.injector import KILLED, Fault, disturbed, trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.injector import Ended

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SAMPLE = 4  # operations of a command; each kind of fault has its own in between
HITS = [{"content": f"passage {p}", "docid": f"d{p}", "score": 3.0 - p} for p in range(3)]
TIMED = {"queries.jsonl", "record.json", "about.json", "experiment.json", ".lock"}
"""Files that tell times, whose content is compared by its meaning."""
STABLE = ("query_id", "repeat", "ranking", "_id", "text")
"""Keys of `queries.jsonl`, here and in BEIR's layout, that tell no times."""


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """Return an undisturbed run of two systems, with two repeats."""
    lines = [json.dumps({"query": {"text": f"query {q}", "qid": f"q{q}"}, "hits": HITS}) for q in range(2)]
    (folder / "hits.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "qrels.txt").write_text("q0 0 d1 1\nq1 0 d2 2\n")
    experiment = {
        "name": "test",
        "datasets": {"candidates": "hits.jsonl", "qrels": "qrels.txt"},
        "first_stages": "given",
        "depths": 3,
        "rerankers": ["first-stage", "reverse"],
        "protocol": {"warmup": 0, "repeats": 2},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    environment()  # what it keeps, the children need not find out again
    assert main(["run", str(folder / "experiment.yaml"), "--out", str(folder / "whole")]) == 0
    main(["table", str(folder / "whole")])
    return folder / "whole"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path; of those that tell times, what does not."""
    content_by_path = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.name == "queries.jsonl":
                rows = [json.loads(line) for line in content.splitlines()]
                content = repr([{key: row.get(key) for key in STABLE} for row in rows]).encode()
            elif path.name in TIMED:
                content = b""
            content_by_path[path.relative_to(folder).as_posix()] = content
    return content_by_path


def command(*arguments: object) -> Callable[[], int]:
    return lambda: main([str(argument) for argument in arguments])


def places(count: int, kind: str) -> list[int]:
    """Operations to disturb, from 1: the first, the last, and some in between that depend on the kind."""
    if NIGHTLY or count <= SAMPLE:
        return list(range(1, count + 1))
    inside = SAMPLE - 2
    shares = [(i + (0.35 if kind == "kill" else 0.65)) / inside for i in range(inside)]
    return sorted({1, count, *(1 + round(share * (count - 1)) for share in shares)})


def is_one_line(ended: Ended) -> None:
    complaints = [line for line in ended.said.splitlines() if line.startswith("rerankbench: ")]
    assert (ended.status, len(complaints)) == (1, 1), ended.said
    assert "Traceback" not in ended.said
    assert "No space left on device" in complaints[0]


def disturb(
    kind: Any,
    work: Callable[[], int],
    out: Path,
    prepare: Callable[[], None],
    check_between: Callable[[], None] = lambda: None,
) -> None:
    """Disturb a command at one operation after the other; each time it is then run again to its end."""
    prepare()
    undisturbed = trace(work, [out])
    assert undisturbed.status == 0, undisturbed.said
    assert undisturbed.operations
    expected = contents(out)
    for place in places(len(undisturbed.operations), kind):
        where = f"{kind} at {place}: {undisturbed.operations[place - 1]}"
        prepare()
        ended = disturbed(work, [out], Fault(kind, place))
        if kind == "kill":
            assert ended.status == KILLED, f"{where}: {ended}"
        elif ended.status:  # what only removes and renames needs no room
            is_one_line(ended)
        check_between()
        again = disturbed(work, [out], None)
        assert again.status == 0, f"{where}: {again.said}"
        assert contents(out) == expected, where


@pytest.mark.parametrize("kind", ["kill", "full"])
def test_a_run_disturbed_at_any_file_operation_ends_as_an_undisturbed_one(whole: Path, kind: str) -> None:
    out = whole.parent / f"run-{kind}"

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)

    def check() -> None:
        if any(out.glob("*/record.json")):
            done = [cell for cell in read_results(out).cells if cell.record.status == "done"]
            assert all(len(cell.rankings) == 2 for cell in done)

    work = command("run", whole.parent / "experiment.yaml", "--out", out)
    disturb(kind, work, out, prepare, check)
    assert [cell.record.status for cell in read_results(out).cells] == ["done", "done"]


@pytest.mark.parametrize("kind", ["kill", "full"])
@pytest.mark.parametrize(
    "part", ["*reverse*/ranking.trec", "*reverse*/queries.jsonl", "pools/*/texts.jsonl.gz"]
)
def test_a_repair_disturbed_at_any_file_operation_ends_as_an_undisturbed_run(
    whole: Path, kind: str, part: str
) -> None:
    out = whole.parent / f"repair-{kind}"

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        (damaged,) = out.glob(part)
        damaged.write_bytes(damaged.read_bytes()[:-10])

    disturb(kind, command("run", whole.parent / "experiment.yaml", "--out", out), out, prepare)
    assert contents(out).keys() - {path for path in contents(out) if path.endswith(".damaged")} == (
        contents(whole).keys()
    )
    (ranking,) = (path for path in contents(whole) if "reverse" in path and path.endswith("ranking.trec"))
    assert contents(out)[ranking] == contents(whole)[ranking]


@pytest.mark.parametrize("kind", ["kill", "full"])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_report_disturbed_at_any_file_operation_never_leaves_half_a_file(
    whole: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_new: bool
) -> None:
    import vl_convert

    # drawing takes seconds, and is not what is disturbed here
    monkeypatch.setattr("reports.formats.vega.script", lambda: "")
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", lambda _: "<svg></svg>" * 99)
    monkeypatch.setattr(vl_convert, "vegalite_to_pdf", lambda _: b"%PDF" * 99)
    out = whole.parent / f"report-{kind}"
    good: dict[str, bytes] = {}

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name, content in {} if is_new else good.items():
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_bytes(content)

    def check() -> None:
        left = {name: content for name, content in contents(out).items() if not name.endswith(".new")}
        assert left.items() <= good.items()
        assert is_new or left == good

    work = command("report", whole, "--out", out / "page.html")
    prepare()
    assert work() == 0  # in this process, so that its children need import nothing
    good |= contents(out)
    disturb(kind, work, out, prepare, check)


@pytest.mark.parametrize("kind", ["kill", "full"])
@pytest.mark.parametrize("format_name", ["trec", "rank-llm", "beir", "parquet"])
def test_an_export_disturbed_at_any_file_operation_never_leaves_half_a_file(
    whole: Path, kind: str, format_name: str
) -> None:
    if format_name == "parquet":
        pytest.importorskip("pyarrow.parquet")
    out = whole.parent / f"export-{kind}"
    good: dict[str, bytes] = {}

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)

    def check() -> None:
        if out.exists():
            left = {name: content for name, content in contents(out).items() if not name.endswith(".new")}
            assert left.items() <= good.items()

    work = command("export", whole, "--format", format_name, "--out", out)
    prepare()
    assert main(["export", str(whole), "--format", format_name, "--out", str(out)]) == 0
    good |= contents(out)
    disturb(kind, work, out, prepare, check)


@pytest.mark.parametrize("kind", ["kill", "full"])
def test_rerank_disturbed_at_any_file_operation_keeps_the_old_run_or_writes_the_new_one(
    whole: Path, kind: str
) -> None:
    out = whole.parent / f"rerank-{kind}"

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        (out / "run.trec").write_text("old")

    hits = ["--candidates", whole.parent / "hits.jsonl", "--output", out / "run.trec"]
    prepare()
    assert main([str(part) for part in ("rerank", "--reranker", "reverse", *hits)]) == 0
    good = (out / "run.trec").read_text()

    def check() -> None:
        assert (out / "run.trec").read_text() in ("old", good)

    disturb(kind, command("rerank", "--reranker", "reverse", *hits), out, prepare, check)


def test_a_table_writes_no_file_and_says_in_one_line_that_its_output_has_no_room(whole: Path) -> None:
    assert trace(command("table", whole), [whole.parent]).operations == ()
    for arguments in (
        ["table", whole],
        ["list", "rerankers"],
        ["run", whole.parent / "experiment.yaml", "--dry-run"],
    ):

        def work(arguments: Any = arguments) -> int:
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
            return main([str(argument) for argument in arguments])

        ended = disturbed(work, [whole.parent], None)
        is_one_line(ended)
