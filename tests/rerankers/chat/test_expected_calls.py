"""Sorts whose calls depend on answers take the calls that are estimated, where answers are as assumed."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from rerankers import RerankRequest, StageClock, create
from rerankers.registry import validated
from rerankers.work import RequestSize
from tests.rerankers.chat.conftest import Reply

COUNT = 31


def relevance_assumed() -> list[int]:
    """Return the relevance by position, the lowest best: an order that says nothing of the input order."""
    relevance = list(range(COUNT))
    random.Random(0).shuffle(relevance)
    return relevance


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pairwise", {"method": "sliding", "top": 3}),
        ("pairwise", {"method": "heap", "top": 3}),
        ("setwise", {"method": "heap", "top": 5}),
        ("setwise", {"method": "bubble", "top": 3, "children": 3}),
        ("setwise", {"method": "insertion", "top": 4, "children": 3}),
        ("rankgpt", {"window_policy": "heap-sort", "window": 4, "top": 3}),
        ("rankgpt", {"window_policy": "tournament", "window": 8}),
        ("rankgpt", {"window_policy": "top-down", "window": 8}),
        ("rankgpt", {"window_policy": "sliding", "window": 8, "step": 4, "passes": 2}),
    ],
)
def test_a_model_that_answers_as_assumed_takes_the_calls_that_are_estimated(
    name: str, options: dict[str, Any], endpoint: Any
) -> None:
    def by_label(body: dict[str, Any]) -> Any:
        matches = re.findall(r"^Passage ([A-Z]): (\d+)$", body["messages"][0]["content"], re.MULTILINE)
        return Reply(f"Passage {min(matches, key=lambda passage: int(passage[1]))[0]}")

    def by_number(body: dict[str, Any]) -> Any:
        matches = [re.fullmatch(r"\[\d+\] (\d+)", message["content"]) for message in body["messages"]]
        values = [int(match[1]) for match in matches if match]
        order = sorted(range(len(values)), key=lambda i: values[i])
        return Reply(" > ".join(f"[{i + 1}]" for i in order))

    endpoint.reply = by_number if name == "rankgpt" else by_label
    chat = {"model": "m", "base_url": endpoint.base_url, **options}
    request = RerankRequest.of("which is least", {f"d{i}": str(r) for i, r in enumerate(relevance_assumed())})
    reranker = create(name, chat)
    [ranking] = reranker.rerank([request], StageClock())
    reranker.close()
    work = validated(name, chat).work(RequestSize(COUNT))
    assert work is not None
    usage = ranking.usage
    assert usage.faults == {}
    counted = usage.windows, usage.llm_calls, usage.sequential_calls
    assert counted == (work.windows, work.llm_calls, work.sequential_calls)
