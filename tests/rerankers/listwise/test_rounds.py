"""Methods rank the windows of a round side by side, with the results of one after another."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import create

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerankers import Ranking, RerankRequest, StageClock

    MakeRequest = Callable[..., RerankRequest]

WORDS = ["glacier", "moves", "hive", "library", "frost", "maple", "reef", "night", "train", "sand", "bees"]
DEPENDENT = [
    "full", "top-down", "top-down-reference", "tournament", "tournament-llm4ranking", "heap-sort",
    "bubble-sort", "insertion-sort", "sliding-aligned", "first-window",
]  # fmt: skip


@pytest.fixture(scope="module")
def requests(make_request: MakeRequest) -> list[RerankRequest]:
    """Return queries with 14, 14 and 9 passages."""
    shuffle = random.Random(1)
    return [
        make_request(
            f"query {number}",
            [" ".join(shuffle.choices(WORDS, k=6)) for _ in range(count)],
            query_id=f"q{number}",
        )
        for number, count in enumerate([14, 14, 9])
    ]


@pytest.mark.parametrize("name", DEPENDENT)
def test_pe_rank_orders_a_batch_as_one_window_at_a_time(
    golden: Path, requests: list[RerankRequest], clock: StageClock, name: str
) -> None:
    def ranked(batch: list[RerankRequest], **options: Any) -> list[Ranking]:
        reranker = create(
            "pe-rank",
            {
                "model": str(golden / "pe_rank" / "mistral"),
                "dtype": "float32",
                "device": "cpu",
                "window": 5,
                "step": 2,
                "window_policy": name,
                "top_k": 3,
                **options,
            },
        )
        return reranker.rerank(batch, clock)

    together = ranked(requests)
    exact = ranked(requests, exact=True)
    assert [ranking.doc_ids for ranking in together] == [ranking.doc_ids for ranking in exact]
    for fast, plain in zip(together, exact, strict=True):
        assert fast.usage.llm_calls == plain.usage.llm_calls >= fast.usage.sequential_calls > 0
        assert fast.usage.sequential_calls == plain.usage.sequential_calls
        assert fast.usage.passages_embedded == plain.usage.passages_embedded
    per_window = ranked(requests[:1], embeddings="per_window")
    assert per_window[0].doc_ids == together[0].doc_ids
    if name in ("top-down", "tournament"):
        assert together[0].usage.llm_calls > together[0].usage.sequential_calls


@pytest.mark.parametrize("name", DEPENDENT)
def test_first_orders_the_windows_of_a_round_as_one_at_a_time(
    tiny_llm: str, requests: list[RerankRequest], clock: StageClock, name: str
) -> None:
    options = {"model": tiny_llm, "device": "cpu", "window": 5, "step": 2, "window_policy": name, "top": 3}
    if name == "full":
        options["window"] = 20
    rankings = [
        create("first", {**options, "batch_size": batch_size}).rerank(requests, clock)
        for batch_size in (1, 3, 8)
    ]
    assert len({tuple(ranking.doc_ids for ranking in batch) for batch in rankings}) == 1
    for ranking in rankings[0]:
        assert ranking.usage.llm_calls >= ranking.usage.sequential_calls > 0
