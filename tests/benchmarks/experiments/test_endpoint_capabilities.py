"""Rerankers tell the harness that they call an endpoint, whatever stands around the call."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from rerankers.errors import InputError
from rerankers.registry import create, validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKENS_OF_A_CALL, DOLLARS_PER_MILLION = 1000, 50.0


class Scoring(BaseHTTPRequestHandler):
    """A rerank endpoint in vLLM's shape: the later a passage was sent, the better."""

    calls = 0

    def do_POST(self) -> None:
        type(self).calls += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        results = [{"index": i, "relevance_score": float(i)} for i in range(len(body["documents"]))]
        answer = json.dumps({"results": results, "usage": {"total_tokens": TOKENS_OF_A_CALL}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[dict[str, Any]]:
    """Options of `rerank-api` for a paid endpoint on this machine."""
    Scoring.calls = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Scoring) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield {"api": "vllm", "model": "m", "base_url": address, "price": {"tokens": DOLLARS_PER_MILLION}}
        server.shutdown()
        thread.join()


def test_dollars_of_an_endpoint_a_fusion_and_a_cascade_are_added_up(
    api: dict[str, Any], write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    part = {"name": "rerank-api", "options": api}
    systems = [
        {"name": "rerank-api", "options": api},
        {"name": "fusion", "options": {"parts": [{"name": "first-stage"}, part]}},
        {"name": "cascade", "options": {"steps": [{"name": "reverse"}, part]}},
    ]
    path = write_experiment(queries=4, rerankers=systems, protocol={"warmup": 0}, count_operations=2)
    outcome = run(*load_experiment(path), tmp_path / "out")
    assert outcome.exit_status == 0
    assert Scoring.calls == 3 * 4  # none of them was called again to count operations
    assert outcome.dollars == pytest.approx(3 * 4 * TOKENS_OF_A_CALL * DOLLARS_PER_MILLION / 1e6)


def test_a_missing_key_ends_a_run_before_any_system_is_measured(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JINA_API_KEY", raising=False)
    part = {"name": "rerank-api", "options": {"api": "jina", "model": "m"}}
    last = {"name": "cascade", "options": {"steps": [{"name": "reverse"}, part]}}
    experiment, config = load_experiment(write_experiment(rerankers=["first-stage", last]))
    with pytest.raises(InputError, match="JINA_API_KEY"):
        run(experiment, config, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*/record.json"))


def test_a_composite_tells_what_its_parts_load_and_call(tmp_path: Path) -> None:
    embedding = {"name": "embedding", "options": {"model": "org/encoder", "revision": "abc"}}
    recording = str(tmp_path / "answers.sqlite")
    chat = {"name": "rankgpt", "options": {"model": "unlisted", "recording": recording}}
    inner = {"name": "fusion", "options": {"parts": [embedding, embedding]}}
    composite = validated("cascade", {"steps": [inner, chat]})
    assert composite.models == (("org/encoder", "abc"),)
    assert (composite.is_remote, composite.is_priced, composite.is_replayed) == (True, False, True)
    assert composite.may_use_gpu
    assert composite.missing_key is None  # cached responses need none
    assert not validated("fusion", {"parts": [{"name": "reverse"}] * 2}).may_use_gpu


OWN = """
from rerankers.baselines import Random
class Seeded(Random):
    pass
"""


def test_a_subclass_takes_the_options_of_the_constructor_that_it_inherits(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_seeded.py").write_text(OWN)
    system = {"name": "own_seeded:Seeded", "options": {"seed": [1, 2]}}
    experiment, config = load_experiment(write_experiment(rerankers=system))
    assert run(experiment, config, tmp_path / "out").cells == 2
    with pytest.raises(InputError, match="option 'seed' of own_seeded:Seeded"):
        create("own_seeded:Seeded", {"seed": "x"})
