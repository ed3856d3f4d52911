"""Rank1 writes the published prompts, thinks and is ended as published, and gives the published scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import create
from rerankers.errors import ModelError
from rerankers.interface import Cost
from rerankers.llm.causal import CausalLM
from rerankers.pointwise.prompts import ReasoningPrompt, prompt_named
from rerankers.pointwise.rank1 import Rank1
from rerankers.pointwise.thoughts import ThoughtWriter, forced_prompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers import RerankRequest, StageClock

FOLDER = Path(__file__).parents[2] / "golden" / "reasoning"
PUBLISHED: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
TEMPLATE = prompt_named(ReasoningPrompt, "published")
BUDGET = 12


@pytest.fixture(scope="module")
def llm() -> CausalLM:
    return CausalLM(str(FOLDER), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def reranker() -> Rank1:
    built = create("rank1", {"model": str(FOLDER), "device": "cpu", "reasoning_tokens": BUDGET})
    assert isinstance(built, Rank1)
    return built


def probability(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit))


@pytest.mark.parametrize("case", PUBLISHED["rank1_prompts"], ids=lambda case: case["query"][:12])
def test_prompts_are_the_published_ones(llm: CausalLM, case: dict[str, Any]) -> None:
    options = {"model": str(FOLDER), "device": "cpu", "reasoning_tokens": BUDGET}
    rank1 = create("rank1", {**options, "query_prompt": case["dataset_prompt"]})
    assert isinstance(rank1, Rank1)
    prompt = rank1.prompt(case["query"], case["passage"])
    assert prompt == case["prompt"]
    assert llm.tokenizer(prompt)["input_ids"] == case["prompt_token_ids"]


def test_an_instruction_follows_the_query(reranker: Rank1) -> None:
    assert "Query: a query. Judge so.\nPassage: text" in reranker.prompt("a query.", "text", "Judge so.")


@pytest.mark.parametrize("case", PUBLISHED["rank1_answers"], ids=lambda case: ascii(case["generated"])[:24])
def test_thoughts_are_ended_and_scored_as_published(case: dict[str, Any]) -> None:
    last, forced = case["last_logprobs"] or {}, case["forced_logprobs"] or {}
    if case["forced_prompt"] is not None:
        assert forced_prompt("P", case["generated"], TEMPLATE.closing) == case["forced_prompt"]
        last = forced
    else:
        assert {"true", "false"} <= set(last)
    difference = last["true"] - last["false"] if {"true", "false"} <= set(last) else 0.0
    assert probability(difference) == pytest.approx(case["score"], rel=1e-7)


@pytest.mark.parametrize("at_once", [1, 4])
def test_runs_of_the_published_code_are_reproduced(llm: CausalLM, clock: StageClock, at_once: int) -> None:
    cases, costs = PUBLISHED["rank1_runs"], [Cost() for _ in PUBLISHED["rank1_runs"]]
    writer = ThoughtWriter(llm, TEMPLATE, BUDGET, "tiny")
    assert (writer.yes, writer.no) == (PUBLISHED["rank1_true_token_id"], PUBLISHED["rank1_false_token_id"])
    prompts = [TEMPLATE.text.format(query=case["query"], passage=case["passage"]) for case in cases]
    ids = [llm.tokenizer(prompt)["input_ids"] for prompt in prompts]
    verdicts = []
    for start in range(0, len(cases), at_once):
        part = slice(start, start + at_once)
        verdicts += writer.judge(prompts[part], ids[part], costs[part], clock)
    for case, prompt, verdict, cost in zip(cases, prompts, verdicts, costs, strict=True):
        assert case["max_output_tokens"] == BUDGET
        assert verdict.is_forced
        assert verdict.thoughts == llm.tokenizer.decode(case["generated_token_ids"], skip_special_tokens=True)
        ended = forced_prompt(prompt, verdict.thoughts, TEMPLATE.closing)
        assert ended == case["forced_prompt"]
        assert probability(verdict.score) == pytest.approx(case["score"], abs=1e-6)
        assert cost.usage.generated_tokens == cost.usage.reasoning_tokens == BUDGET
        assert cost.usage.llm_calls == 2
        assert cost.usage.faults == {"cut_off": 1}
        assert set(cost.stage_seconds) == {"prefill", "think", "forward"}


def test_thoughts_end_where_the_model_closes_them_and_says_one_of_the_two(
    llm: CausalLM, clock: StageClock
) -> None:
    case = PUBLISHED["rank1_runs"][0]
    words = [llm.tokenizer.decode([token]) for token in case["generated_token_ids"]]
    assert words[2:8] == ["thern", " row", " row", " row", " row", " river"]
    template = TEMPLATE.model_copy(update={"closing": " row row row", "yes": " row", "no": " river"})
    cost, prompt = Cost(), TEMPLATE.text.format(query=case["query"], passage=case["passage"])
    [verdict] = ThoughtWriter(llm, template, BUDGET, "tiny").judge(
        [prompt], [llm.tokenizer(prompt)["input_ids"]], [cost], clock
    )
    assert verdict.thoughts == llm.tokenizer.decode(case["generated_token_ids"][:3])
    assert cost.usage.generated_tokens == 7
    assert cost.usage.reasoning_tokens == 6  # the last of them is the answer


def test_a_budget_of_nothing_is_an_answer_at_once(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    rank1 = create("rank1", {"model": str(FOLDER), "device": "cpu", "reasoning_tokens": 0})
    usage = rank1.rerank([make_request("query", ["one", "two", "one"])], clock)[0].usage
    assert usage.llm_calls == 2
    assert usage.generated_tokens == usage.reasoning_tokens == 0
    assert usage.faults == {}


def test_batches_think_as_one_prompt_at_a_time(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    requests = [
        make_request(f"query {q} {'again ' * q}", [f"passage {q} {'word ' * i}" for i in range(6)], f"q{q}")
        for q in range(3)
    ]
    alone, together = (
        create(
            "rank1",
            {"model": str(FOLDER), "device": "cpu", "reasoning_tokens": 9, "batch_size": size},
        ).rerank(requests, clock)
        for size in (1, 7)
    )
    assert [ranking.doc_ids for ranking in together] == [ranking.doc_ids for ranking in alone]
    for single, other in zip(alone, together, strict=True):
        assert single.scores == pytest.approx(other.scores, abs=1e-4)
        assert single.usage.generated_tokens == other.usage.generated_tokens
        assert single.usage.sequential_calls == other.usage.sequential_calls == 2


def test_passages_are_cut_until_thoughts_fit_the_context(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    rank1 = create("rank1", {"model": str(FOLDER), "device": "cpu", "reasoning_tokens": 4000})
    with pytest.raises(ModelError, match="Lower reasoning_tokens"):
        rank1.rerank([make_request("a long query " * 50, ["one"])], clock)
    with pytest.raises(ModelError, match="reads 4096 tokens"):
        create("rank1", {"model": str(FOLDER), "device": "cpu", "reasoning_tokens": 8192})
    rank1 = create("rank1", {"model": str(FOLDER), "device": "cpu", "reasoning_tokens": 2})
    usage = rank1.rerank([make_request("a query", ["lighthouse " * 5000, "short"])], clock)[0].usage
    assert usage.passages_truncated == 1
    assert usage.prompt_tokens < 2 * (4096 + 200)
