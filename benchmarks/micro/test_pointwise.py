"""Pointwise rerankers against the plain way of asking the same model; ratios are the `group` columns.

`cross-encoder`: `CrossEncoder.predict` called query by query, against the reranker query by query (latency)
and over all queries in one call (throughput), with the same weights and threads: a random classifier of
MiniLM-L6's shape. The language-model methods: a loop over pairs without batches, without a shared beginning,
with logits at every position, against the reranker; a random Llama small enough for a CPU.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers import Candidate, RerankRequest, StageClock, create

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUERIES, DEPTH = 3, 100
WORDS = [a + b for a in ("ta", "ke", "mi", "no", "lu", "ra", "so", "ven") for b in ("lo", "rin", "da", "th")]


@pytest.fixture(scope="module")
def requests() -> list[RerankRequest]:
    """Queries of 4 to 8 words, passages of 20 to 120 words, the spread of MS MARCO's passages."""
    draw = random.Random(7)  # noqa: S311 - no secret

    def words(low: int, high: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(low, high)))

    made = []
    for q in range(QUERIES):
        candidates = tuple(
            Candidate(str(q), f"{q}-{i}", words(20, 120), float(DEPTH - i)) for i in range(DEPTH)
        )
        made.append(RerankRequest(str(q), words(4, 8), candidates))
    return made


def save_tokenizer(folder: Path) -> int:
    """A word-level tokenizer of the words above; the vocabulary's size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "yes", "no"]
    vocabulary = {word: i for i, word in enumerate(special + sorted(set(WORDS)))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token, no password
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    make: Any = PreTrainedTokenizerFast
    make(
        tokenizer_object=raw,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        model_max_length=512,
    ).save_pretrained(folder)
    return len(vocabulary)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("classifier")
    config = BertConfig(
        vocab_size=save_tokenizer(folder),
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
def language_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("language-model")
    save_tokenizer(folder)
    config = LlamaConfig(
        vocab_size=4096,  # a quarter of the parameters, as in small models
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=3,
        num_key_value_heads=1,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def one_by_one(reranker: Any, requests: list[RerankRequest]) -> None:
    for request in requests:
        reranker.rerank([request], StageClock())


@pytest.mark.benchmark(group="cross-encoder, top-100 of 3 queries")
@pytest.mark.parametrize("how", ["predict", "latency", "throughput"])
def test_cross_encoder(
    how: str, classifier: str, requests: list[RerankRequest], benchmark: Callable[..., Any]
) -> None:
    if how == "predict":
        from sentence_transformers import CrossEncoder

        encoder = CrossEncoder(classifier, device="cpu")

        def predict() -> None:
            for request in requests:
                encoder.predict([(request.query, candidate.text) for candidate in request.candidates])

        run_rounds(benchmark, predict)
        return
    reranker = create("cross-encoder", {"model": classifier, "device": "cpu"})
    if how == "latency":
        run_rounds(benchmark, lambda: one_by_one(reranker, requests))
    else:
        run_rounds(benchmark, lambda: reranker.rerank(requests, StageClock()))


@pytest.mark.benchmark(group="language model asked for yes or no, top-20 of 3 queries")
@pytest.mark.parametrize("how", ["plain loop", "causal-yes-no"])
def test_causal_yes_no(
    how: str, language_model: str, requests: list[RerankRequest], benchmark: Callable[..., Any]
) -> None:
    top = [RerankRequest(r.query_id, r.query, r.candidates[:20]) for r in requests]
    reranker: Any = create("causal-yes-no", {"model": language_model, "prompt": "qwen3", "device": "cpu"})
    if how == "causal-yes-no":
        run_rounds(benchmark, lambda: one_by_one(reranker, top))
        return
    pairs = [(request.query, candidate.text) for request in top for candidate in request.candidates]
    prompts = [ids for _, ids in reranker.tokenize(pairs).inputs]
    run_rounds(benchmark, lambda: loop_over(reranker, prompts))


@pytest.mark.benchmark(group="query likelihood, top-20 of 3 queries")
@pytest.mark.parametrize("how", ["plain loop", "query-likelihood"])
def test_query_likelihood(
    how: str, language_model: str, requests: list[RerankRequest], benchmark: Callable[..., Any]
) -> None:
    top = [RerankRequest(r.query_id, r.query, r.candidates[:20]) for r in requests]
    reranker: Any = create("query-likelihood", {"model": language_model, "device": "cpu"})
    if how == "query-likelihood":
        run_rounds(benchmark, lambda: one_by_one(reranker, top))
        return
    pairs = [(request.query, candidate.text) for request in top for candidate in request.candidates]
    prompts = [ids for ids, _ in reranker.tokenize(pairs).inputs]
    run_rounds(benchmark, lambda: loop_over(reranker, prompts))


def loop_over(reranker: Any, prompts: list[list[int]]) -> None:
    """One forward pass a pair, logits everywhere, turned into log-probabilities."""
    with torch.inference_mode():
        for ids in prompts:
            reranker._llm.model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)


def run_rounds(benchmark: Any, work: Callable[[], object]) -> None:
    """One round to warm up, three to measure."""
    benchmark.pedantic(work, rounds=3, warmup_rounds=1)
