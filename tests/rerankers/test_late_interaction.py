from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PASSAGES = ["Tides follow the moon.", "Yeast makes dough rise.", "The moon pulls the sea.", ""]


def test_the_score_is_the_sum_of_each_query_tokens_best_match(
    tiny_multi_vector: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    from sentence_transformers import MultiVectorEncoder

    reranker = create("late-interaction", {"model": tiny_multi_vector})
    (ranking,) = reranker.rerank([make_request("what moves the sea", PASSAGES)], clock)
    encoder = MultiVectorEncoder(tiny_multi_vector, device="cpu")
    query = encoder.encode_query("what moves the sea")  # (query tokens, dimension)
    expected = {}
    for i, text in enumerate(PASSAGES):
        passage = encoder.encode_document(text)  # (passage tokens, dimension)
        expected[f"d{i}"] = sum(max(float(q @ p) for p in passage) for q in query)
    assert dict(zip(ranking.doc_ids, ranking.scores, strict=True)) == pytest.approx(expected, abs=1e-4)


def test_embedding_and_matching_are_separate_stages(
    tiny_multi_vector: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("late-interaction", {"model": tiny_multi_vector})
    (ranking,) = reranker.rerank([make_request("sea", [*PASSAGES, PASSAGES[0]])], clock)
    assert set(ranking.stage_seconds) == {"embed", "forward", "order"}
    assert ranking.usage.passages_embedded == len(PASSAGES)  # the fifth is the first again


def test_cut_passages_are_counted_and_batches_change_nothing(
    tiny_multi_vector: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    request = make_request("sea", [*PASSAGES, "moon and sea " * 300])
    (whole,) = create("late-interaction", {"model": tiny_multi_vector}).rerank([request], clock)
    small = create("late-interaction", {"model": tiny_multi_vector, "batch_tokens": 1})
    (one_by_one,) = small.rerank([request], clock)
    assert whole.usage.passages_truncated == 1
    assert one_by_one.doc_ids == whole.doc_ids
    assert one_by_one.scores == pytest.approx(whole.scores, abs=1e-4)


def test_an_encoder_without_a_token_projection_is_refused_instead_of_scored_at_random(
    tiny_encoder: str, golden: Path
) -> None:
    for folder in (tiny_encoder, str(golden / "pe_rank" / "mistral" / "encoder")):
        with pytest.raises(ModelError, match="not a multi-vector model"):
            create("late-interaction", {"model": folder})


def test_a_passage_without_tokens_ranks_last(
    multi_vector_without_special_tokens: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("late-interaction", {"model": multi_vector_without_special_tokens})
    (ranking,) = reranker.rerank([make_request("sea", ["", *PASSAGES[:3]])], clock)
    assert ranking.doc_ids[-1] == "d0"
    (only,) = reranker.rerank([make_request("sea", ["", " "])], clock)
    assert only.doc_ids == ("d0", "d1")
    (blank,) = reranker.rerank([make_request("", ["", *PASSAGES[:2]])], clock)
    assert blank.doc_ids == ("d1", "d2", "d0")
