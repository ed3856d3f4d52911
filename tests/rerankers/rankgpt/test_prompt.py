from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import pytest

from rerankers.rankgpt.prompt import PromptName, load_prompt, passage_words

if TYPE_CHECKING:
    from pathlib import Path


def test_messages_are_those_of_the_published_code(golden: Path) -> None:
    cases = json.loads((golden / "rankgpt" / "golden.json").read_text(encoding="utf-8"))["messages"]
    assert len(cases) == 3
    for case in cases:
        shortened = [" ".join(passage_words(passage)[:300]) for passage in case["passages"]]
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
