"""Pairwise and setwise prompting over a real endpoint with a flawless model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from rerankers import create
from tests.rerankers.chat.conftest import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerankers import Reranker, StageClock
    from tests.rerankers.chat.conftest import Body, Endpoint, MakeRequest, MakeReranker

METHODS = [
    ("pairwise", "sliding"),
    ("pairwise", "heap"),
    ("pairwise", "all-pairs"),
    ("pairwise", "heap-llm4ranking"),
    ("pairwise", "bubble-llm4ranking"),
    ("setwise", "heap"),
    ("setwise", "bubble"),
    ("setwise", "insertion"),
]
VALUES = [(i * 37) % 40 for i in range(40)]
BEST = tuple(f"d{i}" for i in sorted(range(40), key=lambda i: -VALUES[i])[:10])


@pytest.fixture
def comparing(endpoint: Endpoint) -> Iterator[Callable[..., Reranker]]:
    """Make rerankers over an endpoint that picks the highest number, as `Passage X`."""

    def pick(body: Body) -> Reply:
        matches = re.findall(r"Passage ([A-Z]): (\d+)", body["messages"][0]["content"])
        return Reply(f"Passage {max(matches, key=lambda passage: int(passage[1]))[0]}")

    endpoint.reply = pick
    rerankers: list[Reranker] = []

    def make(name: str, **options: Any) -> Reranker:
        rerankers.append(create(name, {"model": "m", "base_url": endpoint.base_url, **options}))
        return rerankers[-1]

    yield make
    for reranker in rerankers:
        reranker.close()


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_a_flawless_model_brings_the_best_to_the_top(
    comparing: MakeReranker, make_request: MakeRequest, clock: StageClock, name: str, method: str
) -> None:
    request = make_request("the highest", [str(value) for value in VALUES])
    ranking = comparing(name, method=method).rerank([request], clock)[0]
    exact = 4 if method == "insertion" else 10  # the published insertion reads the best of a set alone
    assert ranking.doc_ids[:exact] == BEST[:exact]
    assert not ranking.usage.faults
    assert ranking.usage.llm_calls > 0


@pytest.mark.parametrize(("name", "method"), METHODS)
@pytest.mark.parametrize("answer", ["", "I cannot say.", "A glacier moves.", "Passage A"])
def test_a_model_that_favours_a_position_changes_nothing(
    endpoint: Endpoint,
    comparing: MakeReranker,
    make_request: MakeRequest,
    clock: StageClock,
    name: str,
    method: str,
    answer: str,
) -> None:
    endpoint.reply = lambda body: Reply(answer)
    request = make_request("the highest", ["1", "2", "3", "4"])
    ranking = comparing(name, method=method).rerank([request], clock)[0]
    if method in ("sliding", "bubble"):  # a heap, unlike passes, is not stable
        assert ranking.doc_ids == ("d0", "d1", "d2", "d3")
    assert bool(ranking.usage.faults) == (answer != "Passage A")


def test_a_pair_is_shown_in_both_orders_before_it_changes_places(
    endpoint: Endpoint, comparing: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply("Passage B")  # prefers the second place, whatever stands there
    ranking = comparing("pairwise").rerank([make_request("query", ["x", "y"])], clock)[0]
    assert ranking.doc_ids == ("d0", "d1")
    assert [
        re.findall(r"Passage [AB]: (\w)", body["messages"][0]["content"]) for body in endpoint.bodies
    ] == [
        ["x", "y"],
        ["y", "x"],
    ]


@pytest.mark.parametrize(
    "answer", ["Passage B", "passage B.", "B", "[B]", "B.", "**B**", "Output: Passage B"]
)
def test_labels_are_read_as_models_write_them(
    endpoint: Endpoint, comparing: MakeReranker, make_request: MakeRequest, clock: StageClock, answer: str
) -> None:
    endpoint.reply = lambda body: Reply(answer)
    assert comparing("setwise").rerank([make_request("query", ["x", "y"])], clock)[0].doc_ids == ("d1", "d0")


def test_a_label_that_was_not_shown_is_out_of_range(
    endpoint: Endpoint, comparing: MakeReranker, make_request: MakeRequest, clock: StageClock
) -> None:
    endpoint.reply = lambda body: Reply("Passage Z")
    ranking = comparing("setwise", top=1).rerank([make_request("query", ["x", "y"])], clock)[0]
    assert ranking.usage.faults == {"malformed": 1, "out_of_range": 1}
