"""Shared fixtures: golden data, tiny random models in the hub layout, and a clock that does not run."""

from __future__ import annotations

import gc
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from rerankers import Candidate, RerankRequest, StageClock

if TYPE_CHECKING:
    from collections.abc import Callable

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for the hub is a broken test
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # the processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What CI tries is the same each time, so that a change is never refused for a fault it did not make.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("nightly", max_examples=20_000, deadline=None)
settings.load_profile(os.environ.get("RERANKBENCH_HYPOTHESIS", "same"))

GOLDEN = Path(__file__).parent / "golden"


def pytest_collection_finish() -> None:
    """Leave the imported modules and the list of tests out of every later collection of garbage.

    A measured cell collects garbage three times; among the objects of five thousand tests that takes seconds.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return outputs and tiny checkpoints of the reference implementations."""
    return GOLDEN


@pytest.fixture
def clock() -> StageClock:
    """Return a clock on which every reading is one second after the last."""
    seconds = iter(range(10**9))
    return StageClock(now=lambda: float(next(seconds)))


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a random two-layer Llama with a real tokenizer and chat template, as a local folder."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llm")
    source = GOLDEN / "pe_rank" / "mistral"
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory, tiny_llm: str) -> str:
    """Return a random two-layer T5 with a SentencePiece-like tokenizer that knows ▁true and ▁false."""
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
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a random two-layer BERT encoder with mean pooling,
    as sentence-transformers lays out its folder.
    """
    folder = tmp_path_factory.mktemp("tiny-encoder") / "encoder"
    shutil.copytree(GOLDEN / "pe_rank" / "mistral" / "encoder", folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return str(folder)


@pytest.fixture(scope="session")
def tiny_runtime_encoder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: str) -> str:
    """Return the tiny encoder with its export, `onnx/model.onnx`, as folders on the hub have it."""
    folder = tmp_path_factory.mktemp("tiny-runtime-encoder") / "encoder"
    shutil.copytree(tiny_encoder, folder)
    (folder / "onnx").mkdir()
    shutil.copy(GOLDEN / "runtimes" / "encoder.onnx", folder / "onnx" / "model.onnx")
    return str(folder)


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a random two-layer BERT sequence classifier with one label, as a local folder."""
    import torch
    from transformers import AutoConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny-classifier")
    source = GOLDEN / "pe_rank" / "mistral" / "encoder"
    torch.manual_seed(0)
    BertForSequenceClassification(AutoConfig.from_pretrained(source, num_labels=1)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(source / name, folder / name)
    return str(folder)


@pytest.fixture(scope="session")
def make_request() -> Callable[..., RerankRequest]:
    """Build a request from a query and passage texts; doc ids are d0, d1, ... and scores descend."""

    def make(query: str, texts: list[str], query_id: str = "q") -> RerankRequest:
        candidates = [
            Candidate(query_id, f"d{i}", text, float(len(texts) - i)) for i, text in enumerate(texts)
        ]
        return RerankRequest(query_id, query, tuple(candidates))

    return make


@pytest.fixture
def copied_encoder(tmp_path: Path, tiny_encoder: str) -> Path:
    """Return a copy of the tiny encoder, to be changed."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


@pytest.fixture(scope="session")
def without_special_tokens() -> Callable[[Path], str]:
    """Change a model's tokenizer so that it adds no special token: an empty text has no token then."""

    def change(folder: Path) -> str:
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": "[PAD]",
            "mask_token": "[MASK]",
            "unk_token": "[UNK]",
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return str(folder)

    return change


@pytest.fixture
def encoder_without_special_tokens(
    copied_encoder: Path, without_special_tokens: Callable[[Path], str]
) -> str:
    """Return the tiny encoder with a tokenizer that adds no special token."""
    return without_special_tokens(copied_encoder)
