from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError, UnknownNameError
from rerankers.llm.causal import CausalLM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUERY = "how deep is the Mariana Trench"
PASSAGES = [
    "The Challenger Deep lies about 10,935 metres below the surface, at the southern end of the trench.",
    "Trench coats were worn by British officers.",
    "Mount Everest rises 8,849 metres above sea level. " * 5,
    "",
    "Deep ocean trenches form where one plate sinks below another; the Mariana Trench is the deepest.",
]


@pytest.fixture(scope="module")
def llm(tiny_llm: str) -> CausalLM:
    return CausalLM(tiny_llm)


def plain_loop(llm: CausalLM, start: str, query: str) -> float:
    """Score by the definition, one pair at a time: no batch, no padding, no cache, logits everywhere."""
    import torch

    ids = llm.tokenizer(start + query)["input_ids"]
    context = len(llm.tokenizer(start)["input_ids"])
    with torch.inference_mode():
        logits = llm.model(torch.tensor([ids])).logits[0]
    chosen = logits.log_softmax(dim=-1)[range(context - 1, len(ids) - 1), ids[context:]]
    return float(chosen.mean())


def scores_of(reranker: Any, request: RerankRequest, clock: StageClock) -> list[float]:
    (ranking,) = reranker.rerank([request], clock)
    by_id = dict(zip(ranking.doc_ids, ranking.scores, strict=True))
    return [by_id[candidate.doc_id] for candidate in request.candidates]


@pytest.mark.parametrize("batch_tokens", [1, 150, 100_000])
def test_scores_are_those_of_a_plain_loop_over_pairs(
    llm: CausalLM,
    tiny_llm: str,
    batch_tokens: int,
    make_request: Callable[..., RerankRequest],
    clock: StageClock,
) -> None:
    reranker = create("query-likelihood", {"model": tiny_llm, "batch_tokens": batch_tokens})
    scores = scores_of(reranker, make_request(QUERY, PASSAGES), clock)
    expected = [plain_loop(llm, f"Passage: {passage}\nQuery:", " " + QUERY) for passage in PASSAGES]
    assert scores == pytest.approx(expected, abs=1e-4)


def test_a_shared_beginning_read_once_changes_no_score(
    llm: CausalLM, tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    passages = [
        "The same long introduction stands here. " * 12 + tail for tail in ("ocean", "wool", "a", "b")
    ]
    scores = scores_of(create("query-likelihood", {"model": tiny_llm}), make_request(QUERY, passages), clock)
    expected = [plain_loop(llm, f"Passage: {passage}\nQuery:", " " + QUERY) for passage in passages]
    assert scores == pytest.approx(expected, abs=1e-4)


def test_a_chat_prompt_puts_the_passage_into_the_user_turn(
    llm: CausalLM, tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    import torch

    reranker = create("query-likelihood", {"model": tiny_llm, "prompt": "upr_chat"})
    (score,) = scores_of(reranker, make_request(QUERY, PASSAGES[:1]), clock)
    content = f"Passage: {PASSAGES[0]}. Please write a question based on this passage."
    start = llm.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    encoded = llm.tokenizer(start + QUERY, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    query = [i for i, (_, end) in enumerate(offsets) if end > len(start)]
    with torch.inference_mode():
        table = llm.model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    expected = sum(float(table[i - 1, ids[i]]) for i in query) / len(query)
    assert score == pytest.approx(expected, abs=1e-4)


def test_long_passages_are_cut_in_tokens_and_counted(
    llm: CausalLM, tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("query-likelihood", {"model": tiny_llm, "max_passage_tokens": 12})
    request = make_request(QUERY, PASSAGES)
    (ranking,) = reranker.rerank([request], clock)
    lengths = [len(llm.tokenizer(passage, add_special_tokens=False)["input_ids"]) for passage in PASSAGES]
    assert ranking.usage.passages_truncated == sum(length > 12 for length in lengths)
    same_beginning = make_request(QUERY, [PASSAGES[2], PASSAGES[2] + "More at the end."])
    first, second = scores_of(reranker, same_beginning, clock)
    assert first == pytest.approx(second, abs=1e-6)


def test_a_passage_of_nothing_leaves_a_query_that_can_be_predicted(
    llm: CausalLM, tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    reranker = create("query-likelihood", {"model": tiny_llm, "batch_tokens": 1})
    (score,) = scores_of(reranker, make_request("deep", [""]), clock)
    assert score == pytest.approx(plain_loop(llm, "Passage: \nQuery:", " deep"), abs=1e-4)


def test_an_empty_query_keeps_the_first_stage_order(
    tiny_llm: str, make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    (ranking,) = create("query-likelihood", {"model": tiny_llm, "prompt": "upr_chat"}).rerank(
        [make_request("", PASSAGES)], clock
    )
    assert ranking.doc_ids == ("d0", "d1", "d2", "d3", "d4")


def test_an_unknown_prompt_is_refused_with_what_is_known(tiny_llm: str) -> None:
    with pytest.raises(UnknownNameError, match="did you mean plain"):
        create("query-likelihood", {"model": tiny_llm, "prompt": "plan"})


def test_a_chat_prompt_needs_a_chat_template(tiny_llm: str, tmp_path: Path) -> None:
    folder = tmp_path / "without-template"
    shutil.copytree(tiny_llm, folder, ignore=shutil.ignore_patterns("chat_template*"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match="no chat template"):
        create("query-likelihood", {"model": str(folder), "prompt": "upr_chat"})
