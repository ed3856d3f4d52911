from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.encoders.encoder import Encoder
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = ["A glacier carves a valley.", "Bread rises with yeast.", "Ice moves.", "Bread rises with yeast."]


def test_the_score_is_the_cosine_of_query_and_passage(
    tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    (ranking,) = create("embedding", {"model": tiny_encoder}).rerank([make_request("ice", TEXTS[:3])], clock)
    encoder = Encoder(tiny_encoder)
    query, passages = encoder.encode(["ice"], kind="query"), encoder.encode(TEXTS[:3])
    expected = {f"d{i}": float(passages[i] @ query[0]) for i in range(3)}
    assert dict(zip(ranking.doc_ids, ranking.scores, strict=True)) == pytest.approx(expected, abs=1e-6)


def test_embedding_is_charged_to_embed_and_sorting_to_order(
    tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    (ranking,) = create("embedding", {"model": tiny_encoder}).rerank([make_request("ice", TEXTS)], clock)
    assert ranking.stage_seconds == {"embed": 1.0, "order": 1.0}  # the clock ticks once a reading
    assert ranking.usage.passages_embedded == 3  # one text stands there twice
    assert ranking.usage.passages_truncated == 0


def test_cut_passages_are_counted(
    tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("embedding", {"model": tiny_encoder, "max_length": 16})
    (ranking,) = reranker.rerank([make_request("ice", ["ice", "ice " * 30])], clock)
    assert ranking.usage.passages_truncated == 1


def test_precomputed_embeddings_come_from_the_store_and_rank_the_same(
    tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock, tmp_path: Path
) -> None:
    options = {"model": tiny_encoder, "embeddings": "precomputed", "store": tmp_path}
    request = make_request("ice", TEXTS)
    (fresh,) = create("embedding", {"model": tiny_encoder}).rerank([request], clock)
    (filling,) = create("embedding", options).rerank([request], clock)
    (stored,) = create("embedding", options).rerank([request], clock)
    assert fresh.doc_ids == filling.doc_ids == stored.doc_ids
    assert (filling.usage.passages_embedded, filling.usage.passages_from_store) == (3, 0)
    assert (stored.usage.passages_embedded, stored.usage.passages_from_store) == (0, 3)


def test_a_passage_of_two_queries_is_embedded_once(
    tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    requests = [make_request("ice", TEXTS[:2], "a"), make_request("bread", TEXTS[:3], "b")]
    first, second = create("embedding", {"model": tiny_encoder}).rerank(requests, clock)
    assert (first.usage.passages_embedded, second.usage.passages_embedded) == (2, 1)
    assert first.stage_seconds == second.stage_seconds == {"embed": 0.5, "order": 1.0}


def test_a_senseless_pooling_is_refused(tiny_encoder: str) -> None:
    with pytest.raises(InputError, match="option 'pooling' of embedding"):
        create("embedding", {"model": tiny_encoder, "pooling": "max"})
