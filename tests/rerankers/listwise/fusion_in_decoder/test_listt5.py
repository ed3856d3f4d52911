"""ListT5 against the published script's outputs, and what this project adds to it.

`golden/listt5` holds a small checkpoint and what the published script makes of it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rerankers import RerankRequest, StageClock, create
from rerankers.errors import InputError
from rerankers.interface import Usage
from rerankers.listwise.fusion_in_decoder.tournament import tournament
from rerankers.listwise.windows import Window, run_rounds
from rerankers.registry import validated
from tests.rerankers.listwise.golden_cases import TOLERANCE, read_golden, request_of

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER, GOLDEN = read_golden("listt5")
CASES = {case["kind"]: case for case in GOLDEN["cases"]}


@cache
def listt5(**options: Any) -> Any:
    return create("listt5", model=str(FOLDER), device="cpu", **options)


def published(case: dict[str, Any]) -> Any:
    return listt5(
        winners=case["out_k"],
        top=case["rerank_topk"],
        max_prompt_tokens=case["max_input_length"],
        control_tokens="control",
    )


@pytest.mark.parametrize("kind", CASES)
def test_order_and_number_of_calls_are_the_published_script_s(kind: str, clock: StageClock) -> None:
    case = CASES[kind]
    [ranking] = published(case).rerank([request_of(case["query"], case["passages"])], clock)
    assert [int(doc_id) for doc_id in ranking.doc_ids] == case["order"]
    assert ranking.usage.windows == ranking.usage.llm_calls == len(case["answers"])
    assert ranking.usage.sequential_calls <= ranking.usage.llm_calls


@pytest.mark.parametrize("kind", [kind for kind, case in CASES.items() if case["answers"]])
def test_the_first_group_s_prompts_answer_and_logits_are_the_published_script_s(kind: str) -> None:
    case = CASES[kind]
    reranker = published(case)
    [first, *_] = next(iter(tournament(len(case["passages"]), 5, case["out_k"], 10, 21)))
    numbered = enumerate(first.positions, 1)
    texts = [reranker.prompt(case["query"], number, case["passages"][i]) for number, i in numbered]
    prompts, _ = reranker.network.prompts(texts, case["max_input_length"])
    assert [list(prompt) for prompt in prompts] == case["first_prompts"]
    states: dict[Any, torch.Tensor] = {}
    reranker.network.encode(prompts, states)
    rows: list[torch.Tensor] = []
    [answer], _ = reranker.network.decode(
        [[states[prompt] for prompt in prompts]], [6], lambda *_: False, rows.append
    )
    assert reranker.network.text(answer) == case["answers"][0]
    largest = torch.cat(rows)[: len(case["logits"][0])].max(dim=1).values
    assert (largest - torch.tensor(case["logits"][0])).abs().max() < TOLERANCE


@pytest.mark.parametrize("winners", [1, 2])
@pytest.mark.parametrize("count", [2, 4, 5, 6, 9, 11, 23, 100, 126])
def test_a_comparator_without_faults_puts_the_best_first(count: int, winners: int) -> None:
    relevance = [(i * 37) % 101 + i / 1000 for i in range(count)]

    def rank(windows: list[Window]) -> list[list[int]]:
        return [sorted(window.positions, key=lambda i: relevance[i])[-window.ranks :] for window in windows]

    order = run_rounds(tournament(count, 5, winners, 10, 21), rank)
    assert sorted(order) == list(range(count))
    assert order[0] == max(range(count), key=lambda i: relevance[i])


def test_prompts_that_come_again_are_not_read_again(clock: StageClock) -> None:
    case = CASES["r2-23"]
    [ranking] = published(case).rerank([request_of(case["query"], case["passages"])], clock)
    usage = ranking.usage
    assert usage.cached_tokens > usage.prompt_tokens / 4
    assert usage.sequential_calls < usage.llm_calls


@pytest.mark.parametrize(
    ("text", "order", "faults"),
    [
        ("3 1 5 4 2", [40, 20], {}),
        ("3 1 5 2 2", [20, 20], {"duplicate": 1, "missing": 1}),
        ("3 1 5 2 9", [20], {"out_of_range": 1, "missing": 1}),
        ("3 1 5 8 9", [40, 50], {"out_of_range": 2, "missing": 2}),
        ("bees", [10, 10], {"malformed": 1}),
        ("", [10, 10], {"malformed": 1}),
    ],
)
def test_any_answer_gives_winners_and_counts_its_faults(
    text: str, order: list[int], faults: dict[str, int]
) -> None:
    usage = Usage()
    assert listt5().read(Window([10, 20, 30, 40, 50], 2), text, usage, is_cut=False) == order
    assert usage.faults == faults
    assert usage.well_formed == (not faults)


def test_groups_of_several_queries_rank_as_alone(
    make_request: Callable[..., RerankRequest], clock: StageClock
) -> None:
    texts = [f"A beekeeper checks hive {i}." for i in range(9)]
    requests = [make_request(f"query {n}", texts[n:], query_id=f"q{n}") for n in range(3)]
    together = listt5(top=2, batch_size=2).rerank(requests, clock)
    for request, ranking in zip(requests, together, strict=True):
        [alone] = listt5(top=2, batch_size=2).rerank([request], clock)
        assert ranking.doc_ids == alone.doc_ids


def test_more_winners_than_half_a_group_are_refused() -> None:
    with pytest.raises(InputError, match="winners 3: at most half of a group of 5"):
        validated("listt5", {"model": "m", "winners": 3})
