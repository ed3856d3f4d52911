"""The dry run, the endpoint and the closing line count the same calls."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from benchmarks.cli.main import main
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.dry_run import describe_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUERIES, CALLS_PER_QUERY = 5, 3


class Endpoint(BaseHTTPRequestHandler):
    """A rerank endpoint that scores by position, and counts."""

    calls: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        documents = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["documents"]
        self.calls.append(len(documents))
        results = [{"index": i, "relevance_score": 1 / (2 + i)} for i in range(len(documents))]
        payload = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def system() -> Iterator[dict[str, Any]]:
    """Return a fusion of a cascade of two endpoints with a third; each call of them costs a dollar."""
    Endpoint.calls.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        options = {"api": "cohere", "model": "m", "base_url": url, "price": {"calls": 1000}}
        paid = {"name": "rerank-api", "options": options}
        cascade = {"name": "cascade", "options": {"steps": [paid, {**paid, "depth": 2}]}}
        yield {"name": "fusion", "options": {"parts": [cascade, paid]}}
        server.shutdown()
        thread.join()


def test_a_dry_run_counts_the_calls_that_the_run_makes_and_pays_for(
    system: dict[str, Any],
    write_experiment: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is measured, and after a trial on two queries, which are not asked again."""
    path = write_experiment(queries=QUERIES, rerankers=system, protocol={"warmup": 2, "repeats": 2})
    out = tmp_path / "out"
    for limit, queries in ((["limit=2"], 2 + 2 * 2), ([], 2 + 2 * (QUERIES - 2))):
        experiment, _ = load_experiment(path, limit)
        cell, *_ = describe_run(experiment, out)
        Endpoint.calls.clear()
        assert main(["run", str(path), "--out", str(out), *(["--limit", "2"] if limit else [])]) == 0
        calls = queries * CALLS_PER_QUERY
        assert len(Endpoint.calls) == calls
        assert f"about ${calls}.0000" in cell
        paid = calls if limit else calls + 18  # the sessions of the trial are part of the answers' history
        assert f"${paid}.0000 paid" in capsys.readouterr().out
