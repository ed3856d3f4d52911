from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY = "who invented the telephone"
PASSAGES = [
    "Alexander Graham Bell was granted a patent for the telephone in 1876.",
    "The telegraph came first.",
    "Elisha Gray filed a caveat on the same day as Bell. " * 5,
    "",
]


def plain_loop(folder: str, query: str, passages: list[str]) -> list[float]:
    """Score by the published definition, one pair at a time: greedy first token, true against false."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    false, true = (tokenizer.get_vocab()[word] for word in ("▁false", "▁true"))
    start = torch.tensor([[model.config.decoder_start_token_id]])
    scores = []
    for passage in passages:
        ids = tokenizer(f"Query: {query} Document: {passage} Relevant:", return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits = model(input_ids=ids, decoder_input_ids=start).logits[0, -1]
        scores.append(float(logits[[false, true]].log_softmax(dim=-1)[1]))
    return scores


@pytest.mark.parametrize("batch_tokens", [1, 200, 100_000])
def test_scores_are_those_of_a_plain_loop_over_pairs(
    tiny_t5: str, batch_tokens: int, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("mono-t5", {"model": tiny_t5, "batch_tokens": batch_tokens})
    (ranking,) = reranker.rerank([make_request(QUERY, PASSAGES)], clock)
    expected = {f"d{i}": score for i, score in enumerate(plain_loop(tiny_t5, QUERY, PASSAGES))}
    assert dict(zip(ranking.doc_ids, ranking.scores, strict=True)) == pytest.approx(expected, abs=1e-4)


def test_a_long_passage_is_cut_and_the_question_after_it_is_not(
    tiny_t5: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("mono-t5", {"model": tiny_t5, "max_passage_tokens": 6})
    request = make_request(QUERY, [PASSAGES[2], PASSAGES[2] + "And much later.", "Bell"])
    (ranking,) = reranker.rerank([request], clock)
    scores = dict(zip(ranking.doc_ids, ranking.scores, strict=True))
    assert ranking.usage.passages_truncated == 2
    assert scores["d0"] == pytest.approx(scores["d1"], abs=1e-5)  # they begin alike


def test_a_vocabulary_without_the_answers_is_refused(tiny_t5: str) -> None:
    with pytest.raises(ModelError, match="the vocabulary has no"):
        create("mono-t5", {"model": tiny_t5, "prompt": "ptt5"})


def test_another_architecture_is_refused_in_one_line(tiny_llm: str) -> None:
    with pytest.raises(ModelError, match=r"cannot load the language model.*Seq2Seq"):
        create("mono-t5", {"model": tiny_llm})
