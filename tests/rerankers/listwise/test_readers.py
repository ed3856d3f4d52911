"""ReasonRank, Rank-K and TourRank write the published prompts and read hostile answers as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankers import create
from rerankers.errors import InputError
from rerankers.listwise.prompts import PromptName, load_prompt
from rerankers.listwise.readers import (
    READERS,
    read_rank_k,
    read_reason_rank,
    read_tour_rank,
    read_whole_answer,
)
from rerankers.llm.readout import cut_to_tokens
from rerankers.registry import validated

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers import RerankRequest, StageClock

FOLDER = Path(__file__).parents[2] / "golden" / "reasoning"
PUBLISHED: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
MODES: dict[str, PromptName] = {
    "rank_GPT_reasoning": "reason-rank",
    "rank_GPT_qwen3": "reason-rank-qwen3",
    "rank_GPT": "reason-rank-plain",
    "rank_GPT_rankk": "reason-rank-rankk",
}
TOURNAMENT: dict[str, Any] = json.loads(
    (FOLDER.parent / "windows" / "policies.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.mark.parametrize("case", PUBLISHED["reasonrank_prompts"], ids=lambda case: case["prompt_mode"])
def test_prompts_of_reason_rank_are_the_published_ones(tokenizer: Any, case: dict[str, Any]) -> None:
    prompt = load_prompt(MODES[case["prompt_mode"]])
    titles = case.get("titles") or [""] * len(case["passages"])
    passages = [
        f"Title: {title} Content: {passage}" if title else passage
        for title, passage in zip(titles, case["passages"], strict=True)
    ]
    cut, _ = cut_to_tokens(tokenizer, [prompt.cleaned(text) for text in passages], case["max_passage_tokens"])
    messages = prompt.messages(case["query"], cut)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == case["prompt"]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == case["prompt_token_ids"]


@pytest.mark.parametrize("case", PUBLISHED["rankk_prompts"])
def test_prompts_of_rank_k_are_the_published_ones(case: dict[str, Any]) -> None:
    [message] = load_prompt("rank-k").messages(case["query"], case["passages"])
    assert message == {"role": "user", "content": case["message"]}


@pytest.mark.parametrize("case", PUBLISHED["reasonrank_answers"], ids=lambda case: ascii(case["answer"])[:40])
def test_answers_of_reason_rank_are_read_as_published(case: dict[str, Any]) -> None:
    assert list(read_reason_rank(case["answer"], case["n"]).order) == case["rank_GPT_reasoning"]
    assert list(read_whole_answer(case["answer"], case["n"]).order) == case["rank_GPT_rankk"]


@pytest.mark.parametrize("case", PUBLISHED["rankk_answers"], ids=lambda case: ascii(case["answer"])[:40])
def test_answers_of_rank_k_are_read_as_published(case: dict[str, Any]) -> None:
    assert list(read_rank_k(case["answer"], 5).order) == case["ranking"]


def test_prompts_of_tour_rank_are_the_published_ones() -> None:
    passages = ["first text", *(f"text {i}" for i in range(2, 21))]
    messages = load_prompt("tour-rank").messages("sample query", passages, ranks=10)
    assert [*messages[:5], messages[-1]] == TOURNAMENT["tourrank_messages"]  # which hold one document only
    assert messages[-3] == {"role": "user", "content": "Document 20: text 20"}
    assert len(messages) == 3 + 2 * 20 + 1


@pytest.mark.parametrize("case", TOURNAMENT["tourrank_parser"], ids=lambda case: ascii(case["answer"])[:40])
def test_answers_of_tour_rank_are_read_as_published(case: dict[str, Any]) -> None:
    parsed = read_tour_rank(case["answer"], 10)
    if "raises" in case:
        assert parsed.order == tuple(range(10))
        assert parsed.faults == {"malformed": 1}
    else:
        selected = [int(name[1:]) for name in case["selected"]]
        once = list(dict.fromkeys(selected))
        assert list(parsed.order[: len(once)]) == once
        assert parsed.faults.get("missing", 0) == 10 - len(once)
        assert parsed.faults.get("duplicate", 0) == len(selected) - len(once)


@pytest.mark.parametrize("reader", sorted(READERS))
@given(text=st.text(alphabet="[]<>/=0123456789-thinkanswer \n.²٣,:Documt"), count=st.integers(0, 6))
def test_any_answer_is_read_as_a_permutation(reader: Any, text: str, count: int) -> None:
    parsed = READERS[reader](text, count)
    assert sorted(parsed.order) == list(range(count))
    assert all(times > 0 for times in parsed.faults.values())


def test_what_was_repaired_is_counted() -> None:
    assert read_rank_k("[3] > [2] > [1]", 3).faults == {}
    assert read_rank_k("[3] > [9] > [3] > [2]", 3).faults == {"missing": 2, "duplicate": 1, "out_of_range": 1}
    assert read_rank_k("none", 3).faults == {"malformed": 1}
    assert read_rank_k("[0] > [1] > [2]", 3).faults == {"out_of_range": 1}
    assert read_reason_rank("<think>a</think><answer>²</answer>", 3).faults == {"malformed": 1}
    assert read_reason_rank("<think>5</think><answer>[2] > [1] > [3]</answer>", 3).faults == {}


@pytest.mark.parametrize("case", PUBLISHED["reasonrank_windows"], ids=lambda case: case["n"])
def test_reason_rank_reranks_by_the_usual_windows(case: dict[str, Any]) -> None:
    from rerankers.listwise.windows import WindowPlan, run_rounds, sliding_windows
    from rerankers.methods.windows import WindowOptions

    def rank(windows: list[Any]) -> list[list[int]]:
        return [sorted(window.positions, key=lambda i: -case["relevance"][i]) for window in windows]

    assert [list(window) for window in sliding_windows(case["n"], 20, 10)] == case["windows"]
    assert run_rounds(WindowPlan(WindowOptions()).rounds(case["n"]), rank) == case["ranking"]


@pytest.mark.parametrize("prompt", ["reason-rank", "rank-k"])
def test_a_model_thinks_within_its_budget_and_is_then_read(
    make_request: Callable[..., RerankRequest], clock: StageClock, prompt: str
) -> None:
    options: dict[str, Any] = {"backend": "transformers", "model": str(FOLDER), "device": "cpu"}
    options |= {"prompt": prompt, "reasoning_tokens": 5, "max_new_tokens": 4, "passage_tokens": 8}
    options |= {"window": 4, "step": 2}
    request = make_request("who guides ships", [f"passage {i} {'harbour ' * 9}" for i in range(6)])
    [ranking] = create("rankgpt", options).rerank([request], clock)
    assert sorted(ranking.doc_ids) == [f"d{i}" for i in range(6)]
    assert ranking.usage.passages_truncated == 6
    assert ranking.usage.sequential_calls == 2


def test_tokens_are_counted_in_this_process_alone() -> None:
    with pytest.raises(InputError, match="passage_tokens 100"):
        validated("rankgpt", {"model": "m", "base_url": "http://localhost/v1", "passage_tokens": 100})
