"""`-` is standard input and output, FIFOs work, and nothing but a regular file is ever replaced."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from benchmarks.datasets.readers import read_run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the standard streams of POSIX")
ORDERS = {"q0": ["q0-d1", "q0-d0"], "q1": ["q1-d1", "q1-d0"]}


def rerankbench(
    folder: Path, *arguments: str, standard_input: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "benchmarks.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(
        command, cwd=folder, input=standard_input, capture_output=True, check=True, env=environment
    )


def orders(path: Path) -> dict[str, list[str]]:
    return {query_id: [doc_id for doc_id, _ in hits] for query_id, hits in read_run(path).items()}


@pytest.fixture
def hits(write_candidates: Callable[..., dict[str, str]], tmp_path: Path) -> Path:
    write_candidates(queries=2, depth=2)
    return tmp_path / "hits.jsonl"


def test_rerank_reads_standard_input_and_writes_standard_output(hits: Path, tmp_path: Path) -> None:
    arguments = ["rerank", "--reranker", "reverse", "--candidates", "-", "--output", "-"]
    done = rerankbench(tmp_path, *arguments, standard_input=hits.read_bytes())
    (tmp_path / "run.trec").write_bytes(done.stdout)
    assert orders(tmp_path / "run.trec") == ORDERS
    assert b"2 queries in /dev/stdout" in done.stderr
    assert Path("/dev/stdout").is_symlink()
    assert not list(tmp_path.glob("*stdout*"))


def test_rerank_writes_into_a_fifo(hits: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()), daemon=True)
    reader.start()
    assert main(["rerank", "--reranker", "reverse", "--candidates", str(hits), "--output", str(fifo)]) == 0
    reader.join(10)
    (tmp_path / "run.trec").write_bytes(read[0])
    assert orders(tmp_path / "run.trec") == ORDERS
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_every_command_takes_a_dash_for_a_file(
    write_experiment: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    experiment = write_experiment(queries=2, depth=2, rerankers=["reverse"])
    rerankbench(tmp_path, "run", "-", "--out", "out", standard_input=experiment.read_bytes())
    page = rerankbench(tmp_path, "report", "out", "--out", "-").stdout
    assert page.startswith(b"<!doctype html>")
    assert page.rstrip().endswith(b"</html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "experiment.yaml",
        "hits.jsonl",
        "out",
        "qrels.txt",
    ]
    labelled = b'{"query": "why", "pos": "Yeast.", "neg": "Salt."}\n'
    assert (
        b"1 queries, 2 passages"
        in rerankbench(tmp_path, "convert", "-", "--out", "new", standard_input=labelled).stdout
    )
    arguments = ["--first-stage", "bm25.trec", "--qrels", "qrels.txt", "--out", "imported"]
    run = b"q0 Q0 q0-d0 1 2 x\nq0 Q0 q0-d1 2 1 x\n"
    (tmp_path / "bm25.trec").write_bytes(run)
    assert (
        b"2 cells on pool"
        in rerankbench(tmp_path, "import-run", "X=-", *arguments, standard_input=run).stdout
    )
    assert (
        main(["init", "--data", "bundled", "--rerankers", "reverse", "--machine", "cpu", "--out", "-"]) == 0
    )
    assert "\nname: experiment\n" in capfd.readouterr().out
