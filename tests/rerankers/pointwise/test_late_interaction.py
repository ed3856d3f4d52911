from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def multi_vector(folder: Path, network: Any, tokenizer: Any) -> str:
    """Return a multi-vector model with a random projection."""
    from sentence_transformers import MultiVectorEncoder

    network.save_pretrained(folder / "source")
    tokenizer.save_pretrained(folder / "source")
    model = MultiVectorEncoder(str(folder / "source"), device="cpu")
    transformer: Any = model[0]
    transformer.document_length = None
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return str(folder / "model")


def test_a_slow_tokenizer_counts_what_it_cut(
    tmp_path: Path, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    config = T5Config(vocab_size=384, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    tokenizer = ByT5Tokenizer(model_max_length=8)
    folder = multi_vector(tmp_path, T5EncoderModel(config), tokenizer)
    reranker = create("late-interaction", {"model": folder})
    texts = ["seven b", "seven by", "a", ""]  # a token a byte, and the end: 8, 9, 2 and 1 tokens
    (ranking,) = reranker.rerank([make_request("a", texts)], clock)
    assert ranking.usage.passages_truncated == 1


def test_a_roberta_without_a_stated_length_is_cut_where_its_positions_end(
    tmp_path: Path, tiny_encoder: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    """Of 64 positions, 64 - 1 - 1 are usable: they begin behind the padding row."""
    from transformers import AutoTokenizer, RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=420,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=1,
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_encoder, model_max_length=10**6)
    folder = multi_vector(tmp_path, RobertaModel(config), tokenizer)
    (ranking,) = create("late-interaction", {"model": folder}).rerank(
        [make_request("ice", ["ice", "ice " * 200])], clock
    )
    assert ranking.usage.passages_truncated == 1
