"""Fixtures of the rerankers' tests: more tiny random models, and a real HTTP server that reranks."""

from __future__ import annotations

import json
import shutil
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory, tiny_llm: str) -> Callable[[str], str]:
    """Make the folder of a random small language model of another kind, with the tiny LLM's tokenizer."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llm)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    recurrent = {"state_size": 8, "num_hidden_layers": 2, "hidden_size": 32, "initializer_range": 0.3}
    options: dict[str, dict[str, Any]] = {
        "Mamba": recurrent,
        "Lfm2": {**sizes, "layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
        "Qwen3Next": {
            **sizes,
            "layer_types": ["linear_attention", "full_attention"],
            "num_hidden_layers": 2,
            "head_dim": 8,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
        },
        "Mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2, "initializer_range": 0.3},
        "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
        "Gemma2": {**sizes, "num_hidden_layers": 2, "head_dim": 8, "sliding_window": 16},
    }
    folders: dict[str, str] = {}

    def make(kind: str) -> str:
        if kind not in folders:
            folder = tmp_path_factory.mktemp(f"tiny-{kind}")
            ids = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
            values = {"initializer_range": 0.2, **ids, **options[kind]}
            config = getattr(transformers, f"{kind}Config")(**values)
            torch.manual_seed(0)
            network: Any = AutoModelForCausalLM
            network.from_config(config).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            folders[kind] = str(folder)
        return folders[kind]

    return make


@pytest.fixture(scope="session")
def with_template(tmp_path_factory: pytest.TempPathFactory, tiny_llm: str) -> Callable[[str], str]:
    """Make the tiny LLM's folder again with another chat template."""
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
    """Return the tiny encoder with a random projection of every token."""
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
    with serving(RerankHandler) as url:
        yield url


@pytest.fixture
def multi_vector_without_special_tokens(
    tmp_path: Path, tiny_multi_vector: str, without_special_tokens: Callable[[Path], str]
) -> str:
    """Return the tiny multi-vector model with a tokenizer that adds no special token."""
    return without_special_tokens(Path(shutil.copytree(tiny_multi_vector, tmp_path / "multi-vector")))
