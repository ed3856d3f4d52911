from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import pytest

from rerankers.listwise.prompts import PromptName, load_prompt, passage_words

if TYPE_CHECKING:
    from pathlib import Path


def test_messages_are_those_of_the_published_code(golden: Path) -> None:
    cases = json.loads((golden / "rankgpt" / "golden.json").read_text(encoding="utf-8"))["messages"]
    assert len(cases) == 3
    for case in cases:
        shortened = ["".join(passage_words(passage)[:300]) for passage in case["passages"]]
        assert load_prompt("rankgpt").messages(case["query"], shortened) == case["messages"]


@pytest.mark.parametrize("name", get_args(PromptName))
def test_every_prompt_shows_the_query_and_each_passage_once(name: PromptName) -> None:
    prompt = load_prompt(name)
    text = "\n".join(
        message["content"] for message in prompt.messages("bees {query}", ["first {0}", "second"])
    )
    assert "bees {query}" in text
    assert text.count("first {0}") == text.count("second") == 1
    assert "arXiv" in prompt.source


def test_ids_are_recognised_as_each_prompt_asks_for_them() -> None:
    assert load_prompt("rank-zephyr").id_pattern.findall("[2] > [10] and 3") == ["2", "10"]
    assert load_prompt("lrl").id_pattern.findall("[PASSAGE2, PASSAGE10] of 3") == ["2", "10"]


RANK_LLM_QUESTION = (
    "I will provide you with 2 passages, each indicated by a numerical identifier []. "
    "Rank the passages based on their relevance to the search query: bees.\n\n[1] see (7)\n[2] two\n"
    "Search Query: bees.\nRank the 2 passages above based on their relevance to the search query. "
    "All the passages should be included and listed using identifiers, in descending order of relevance. "
    "The output format should be [] > [], e.g., {example}, Only respond with the ranking results, "
    "do not say any word or explain."
)


@pytest.mark.parametrize(("name", "example"), [("rank-vicuna", "[4] > [2]"), ("rank-zephyr", "[2] > [1]")])
def test_prompts_of_fine_tuned_models_are_worded_as_in_their_training(name: PromptName, example: str) -> None:
    system, user = load_prompt(name).messages("bees", ["see [7]", "two"])
    assert system["role"] == "system"
    assert user["content"] == RANK_LLM_QUESTION.format(example=example)


def test_lrl_continues_a_program() -> None:
    (user,) = load_prompt("lrl").messages("bees", ["one", "two"])
    assert user["content"].endswith(
        'PASSAGE1 = "one"\nPASSAGE2 = "two"\n'
        'QUESTION = "bees"\nPASSAGES = [PASSAGE1, PASSAGE2]\nSORTED_PASSAGES = [\n'
    )


def test_only_the_published_prompt_of_rankgpt_leaves_ids_in_texts_alone() -> None:
    messages = load_prompt("rankgpt").messages("bees", ["see [7]"])
    assert "[1] see [7]" in [message["content"] for message in messages]
