"""Pointwise rerankers against the plain way of asking the same model, in one process, in turns.

    pytest benchmarks/micro/test_pointwise.py --benchmark-only

prints, for each method, the plain way's time over the reranker's: the median over rounds, and the spread. The
same weights and threads, tokenising included, and the same scores to 1e-4.

`cross-encoder`: `CrossEncoder.predict` called query by query, against the reranker query by query (latency)
and over all queries in one call (throughput); a random classifier of MiniLM-L6's shape. The others: a loop
over pairs without batches, without a shared beginning, with logits at every position and token; a random
Llama small enough for a CPU, and a random T5 of T5-small's shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks.micro.workloads.texts import requests_of, save_tokenizer
from benchmarks.micro.workloads.ways import ask, compare, scores_of, whole_model
from rerankers import RerankRequest, create
from rerankers.pointwise.base import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

QUERIES, DEPTH, TOP = 3, 100, 20


@pytest.fixture(scope="module")
def requests() -> list[RerankRequest]:
    """Return 3 queries with 100 passages each."""
    return requests_of(QUERIES, DEPTH)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, requests: list[RerankRequest]) -> str:
    """Write a random cross-encoder of MiniLM-L6's shape, and return its folder."""
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("classifier")
    config = BertConfig(
        vocab_size=save_tokenizer(folder, requests),
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=12,
    )
    config.num_labels = 1
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory, requests: list[RerankRequest]) -> str:
    """Write a random Llama that is small enough for a CPU, and return its folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("language-model")
    config = LlamaConfig(
        vocab_size=max(4096, save_tokenizer(folder, requests)),  # a quarter of the parameters or more
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=3,
        num_key_value_heads=1,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def sequence_to_sequence(tmp_path_factory: pytest.TempPathFactory, requests: list[RerankRequest]) -> str:
    """Write a random T5 of T5-small's shape, and return its folder."""
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("sequence-to-sequence")
    save_tokenizer(folder, requests)
    torch.manual_seed(0)
    config = T5Config()  # the defaults are T5-small's shape
    config.decoder_start_token_id = 0
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def top(requests: list[RerankRequest]) -> list[RerankRequest]:
    """Return the requests with their first 20 candidates."""
    return [RerankRequest(r.query_id, r.query, r.candidates[:TOP]) for r in requests]


def test_cross_encoder(
    classifier: str,
    requests: list[RerankRequest],
    benchmark: Any,
    capsys: pytest.CaptureFixture[str],
    measured: Callable[[str, float], None],
) -> None:
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(classifier, device="cpu", activation_fn=torch.nn.Identity())
    reranker = create("cross-encoder", {"model": classifier, "device": "cpu"})

    def predict() -> list[float]:
        return [
            float(score)
            for request in requests
            for score in encoder.predict([(request.query, c.text) for c in request.candidates])
        ]

    ways = {
        "CrossEncoder.predict": predict,
        "latency": lambda: scores_of(requests, [ask(reranker, [request])[0] for request in requests]),
        "throughput": lambda: scores_of(requests, ask(reranker, requests)),
    }
    compare(f"cross-encoder, top-{DEPTH} of {QUERIES} queries", ways, benchmark, capsys)
    measured("cross-encoder/speedup-latency", benchmark.extra_info["latency"])
    measured("cross-encoder/speedup-throughput", benchmark.extra_info["throughput"])


def test_causal_yes_no(
    language_model: str, top: list[RerankRequest], benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reranker: Any = create("causal-yes-no", {"model": language_model, "prompt": "qwen3", "device": "cpu"})
    whole = whole_model("AutoModelForCausalLM", language_model)
    answers = reranker._llm.tokenizer.convert_tokens_to_ids(["yes", "no"])

    def plain(query: str, text: str) -> float:
        ((_, ids),) = reranker.tokenize([Pair(query, text)]).inputs
        return float(whole(torch.tensor([ids])).logits[0, -1, answers].log_softmax(dim=-1)[0])

    against_a_loop("causal-yes-no", reranker, plain, top, benchmark, capsys)


def test_query_likelihood(
    language_model: str, top: list[RerankRequest], benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reranker: Any = create("query-likelihood", {"model": language_model, "device": "cpu"})
    whole = whole_model("AutoModelForCausalLM", language_model)

    def plain(query: str, text: str) -> float:
        ((ids, count),) = reranker.tokenize([Pair(query, text)]).inputs
        table = whole(torch.tensor([ids])).logits[0].log_softmax(dim=-1)  # (tokens, vocabulary)
        return float(table[range(len(ids) - count - 1, len(ids) - 1), ids[-count:]].mean())

    against_a_loop("query-likelihood", reranker, plain, top, benchmark, capsys)


def test_mono_t5(
    sequence_to_sequence: str, top: list[RerankRequest], benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reranker: Any = create("mono-t5", {"model": sequence_to_sequence, "device": "cpu"})
    whole = whole_model("AutoModelForSeq2SeqLM", sequence_to_sequence)
    answers = reranker._tokenizer.convert_tokens_to_ids(["\u2581true", "\u2581false"])

    def plain(query: str, text: str) -> float:
        (ids,) = reranker.tokenize([Pair(query, text)]).inputs
        logits = whole(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0]])).logits
        return float(logits[0, 0, answers].log_softmax(dim=-1)[0])

    against_a_loop("mono-t5", reranker, plain, top, benchmark, capsys)


def against_a_loop(
    name: str,
    reranker: Any,
    plain: Callable[[str, str], float],
    requests: list[RerankRequest],
    benchmark: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Compare a reranker, query by query, with a loop over all pairs, in seconds and scores.

    Args:
        name: name of the reranker.
        reranker: the reranker.
        plain: scores one pair of query and text.
        requests: the queries.
        benchmark: pytest-benchmark's fixture.
        capsys: pytest's fixture, to print the comparison.
    """

    def loop() -> list[float]:
        with torch.inference_mode():
            return [plain(request.query, c.text) for request in requests for c in request.candidates]

    def ours() -> list[float]:
        return scores_of(requests, [ask(reranker, [request])[0] for request in requests])

    compare(
        f"{name}, top-{TOP} of {QUERIES} queries", {"loop over pairs": loop, name: ours}, benchmark, capsys
    )
