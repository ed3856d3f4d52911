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


def test_a_passage_without_tokens_ranks_last(
    encoder_without_special_tokens: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    for similarity in ("cosine", "dot"):
        options = {"model": encoder_without_special_tokens, "similarity": similarity}
        reranker = create("embedding", options)
        for texts in (["", *TEXTS[:3]], [TEXTS[0], "", " ", TEXTS[1]], ["", " "]):
            (ranking,) = reranker.rerank([make_request("ice", texts)], clock)
            blank = [f"d{i}" for i, text in enumerate(texts) if not text.strip()]
            assert list(ranking.doc_ids[-len(blank) :]) == blank


@pytest.mark.parametrize(("padding_row", "longest"), [(0, 63), (1, 62), (5, 58)])
def test_a_roberta_without_a_stated_length_is_cut_where_its_positions_end(
    copied_encoder: Path,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
    padding_row: int,
    longest: int,
) -> None:
    """64 positions begin behind the padding row, so 64 - padding_row - 1 tokens fit."""
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=420,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=padding_row,
    )
    RobertaModel(config).save_pretrained(copied_encoder)
    (copied_encoder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (ranking,) = create("embedding", {"model": str(copied_encoder)}).rerank(
        [make_request("ice", ["ice", "ice " * 200])], clock
    )
    assert ranking.usage.passages_truncated == 1
    assert Encoder(str(copied_encoder)).max_length == longest
