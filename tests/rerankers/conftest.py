"""Fixtures of the rerankers' tests: more tiny random models, and a real HTTP server that reranks."""

from __future__ import annotations

import json
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory, tiny_llm: str) -> str:
    """A random two-layer T5 with a SentencePiece-like tokenizer that knows ▁true and ▁false."""
    import torch
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("tiny-t5")
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.add_tokens(["▁true", "▁false"])
    tokenizer.pad_token = tokenizer.unk_token
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=3.0,
    )
    config.decoder_start_token_id = tokenizer.pad_token_id
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def with_template(tmp_path_factory: pytest.TempPathFactory, tiny_llm: str) -> Callable[[str], str]:
    """Makes the tiny LLM's folder again with another chat template."""
    from transformers import AutoTokenizer

    def make(template: str) -> str:
        folder = tmp_path_factory.mktemp("templated") / "model"
        shutil.copytree(tiny_llm, folder, ignore=shutil.ignore_patterns("chat_template*"))
        tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture(scope="session")
def tiny_multi_vector(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: str) -> str:
    """The tiny encoder with a random projection of every token."""
    import torch
    from sentence_transformers import MultiVectorEncoder

    source = tmp_path_factory.mktemp("tiny-multi-vector-source")
    shutil.copytree(tiny_encoder, source, dirs_exist_ok=True)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-multi-vector")
    MultiVectorEncoder(str(source), device="cpu").save_pretrained(str(folder), create_model_card=False)
    return str(folder)


class RerankHandler(BaseHTTPRequestHandler):
    """Scores a passage by how many characters it shares with the query; answers in vLLM's shape."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        query = set(body["query"])
        results = [
            {"index": i, "relevance_score": len(query & set(text)) / (1 + len(set(text)))}
            for i, text in enumerate(body["documents"])
        ]
        results.sort(key=lambda result: -result["relevance_score"])
        answer = json.dumps({"results": results, "usage": {"total_tokens": 7}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture(scope="session")
def rerank_server() -> Iterator[str]:
    """Root of a running rerank endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), RerankHandler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
