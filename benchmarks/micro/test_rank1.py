"""Rank1 in batches against one prompt at a time, both in this process and to the same scores.

A model of SmolLM2-135M's shape with random weights thinks about the 8 passages of a query until its budget of
48 tokens is used up, and is then ended by force: the longest way. What is kept in `extra_info`:

- `ratio`: processor seconds of one prompt at a time by those of batches, so that other work on the machine
  does not count.
- `sequential_passes`: forward passes of a query that follow one another, of both.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import Candidate, RerankRequest, StageClock, create

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import Ranking, Reranker

PASSAGES, BUDGET = 8, 48
WORDS = ["harbour", "lantern", "winter", "orchard", "ferry", "tunnel", "glacier", "honey", "market", "bridge"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random LM of SmolLM2-135M's shape with the golden files' tokenizer; return its folder."""
    import shutil
    from pathlib import Path

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("rank1")
    golden = Path(__file__).parents[2] / "tests" / "golden" / "reasoning"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(golden / name, folder / name)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192, eos_token_id=902,
        bos_token_id=None, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def request_of_eight() -> RerankRequest:
    """Return a query with 8 passages of 20 to 60 words."""
    draw = random.Random(5)  # noqa: S311 - no secret
    texts = [" ".join(draw.choice(WORDS) for _ in range(draw.randint(20, 60))) for _ in range(PASSAGES)]
    candidates = tuple(Candidate("q", f"d{i}", text, -i) for i, text in enumerate(texts))
    return RerankRequest("q", "who guides ships past the sandbank", candidates)


def made(model: Path, batch_size: int) -> Reranker:
    """Return a Rank1 reranker that thinks for 48 tokens and reads `batch_size` prompts at a time."""
    return create(
        "rank1",
        {
            "model": str(model),
            "reasoning_tokens": BUDGET,
            "batch_size": batch_size,
            "dtype": "float32",
            "device": "cpu",
        },
    )


def timed(reranker: Reranker, request: RerankRequest) -> tuple[float, Ranking]:
    """Rank a request, and return the process's CPU seconds and the ranking."""
    started = time.process_time()
    [ranking] = reranker.rerank([request], StageClock())
    return time.process_time() - started, ranking


def test_batches_against_one_prompt_at_a_time(
    model: Path, request_of_eight: RerankRequest, benchmark: Any, measured: Callable[[str, float], None]
) -> None:
    batches, alone = made(model, PASSAGES), made(model, 1)
    short = RerankRequest("warm-up", "query", request_of_eight.candidates[:1])
    for reranker in (batches, alone):
        timed(reranker, short)
    alone_seconds, one_by_one = timed(alone, request_of_eight)
    seconds, together = timed(batches, request_of_eight)
    assert together.doc_ids == one_by_one.doc_ids
    assert together.scores == pytest.approx(one_by_one.scores, abs=1e-3)
    benchmark.extra_info |= {
        "seconds": seconds,
        "seconds_one_at_a_time": alone_seconds,
        "ratio": alone_seconds / seconds,
        "sequential_passes": together.usage.decode_steps + 2,
        "sequential_passes_one_at_a_time": one_by_one.usage.decode_steps + 2 * PASSAGES,
    }
    measured("rank1/speedup", alone_seconds / seconds)
    print({name: round(value, 2) for name, value in benchmark.extra_info.items()})
    benchmark.pedantic(timed, args=(batches, short), rounds=1)
    assert alone_seconds / seconds > 1
