"""Every window policy makes the calls of its published code, and returns a permutation in any case."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankers.comparisons.sorting import insertion_order
from rerankers.errors import InputError
from rerankers.listwise.windows import (
    Window,
    WindowPlan,
    run_rounds,
)
from rerankers.methods.windows import WindowOptions, WindowPolicyName
from rerankers.registry import validated

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

POLICIES: tuple[WindowPolicyName, ...] = get_args(WindowPolicyName)
FOLDER = Path(__file__).parents[2] / "golden" / "windows"
PUBLISHED: dict[str, Any] = json.loads((FOLDER / "policies.json").read_text(encoding="utf-8"))
SETWISE: dict[str, Any] = json.loads((FOLDER / "setwise.json").read_text(encoding="utf-8"))
INSERTION = [case for case in PUBLISHED["insertion"] if "faults" not in case]
SORTS = {"heapsort": "heap-sort", "bubblesort": "bubble-sort", "insertion.sort_compare": "insertion-sort"}
SORTED = [*SETWISE["setwise"], *INSERTION]


def policy(name: str, top: int | None = None, **options: Any) -> WindowPlan:
    return WindowPlan(WindowOptions.model_validate({"window_policy": name, **options}), top)


def oracle(plan: WindowPlan, relevance: Sequence[float]) -> tuple[list[int], list[list[Window]]]:
    """Return the order by a comparator that knows the relevance (equal ones as shown), and its rounds."""
    rounds: list[list[Window]] = []

    def rank(windows: list[Window]) -> list[list[int]]:
        rounds.append(windows)
        return [sorted(window.positions, key=lambda i: -relevance[i]) for window in windows]

    return run_rounds(plan.rounds(len(relevance)), rank), rounds


def shown_in(rounds: list[list[Window]]) -> list[list[int]]:
    return [window.positions for windows in rounds for window in windows]


def is_published(calls: list[list[int]], case: dict[str, Any]) -> bool:
    """Whether the calls are those of a golden case; a single passage needs no call here."""
    if "calls" in case:
        return calls == [passages for passages in case["calls"] if len(passages) > 1]
    written = json.dumps(calls, separators=(",", ":")).encode()
    return bool(hashlib.sha256(written).hexdigest() == case["calls_sha256"])


@pytest.mark.parametrize("case", PUBLISHED["sliding"], ids=lambda case: f"{case['n']}-{case['parameters']}")
def test_sliding_makes_the_calls_of_llm4ranking(case: dict[str, Any]) -> None:
    parameters, relevance = case["parameters"], case["relevance"]
    first = parameters.get("rank_start", 0)
    plan = policy("sliding", window=parameters["window_size"], step=parameters["step"])
    order, rounds = oracle(plan, relevance[first:])
    assert [*range(first), *(first + i for i in order)] == case["ranking"]
    assert is_published([[first + i for i in passages] for passages in shown_in(rounds)], case)


@pytest.mark.parametrize(
    "case", PUBLISHED["tdpart"], ids=lambda case: f"{case['n']}-{case['order']}-{case['buffer']}"
)
def test_top_down_partitioning_makes_the_published_calls(case: dict[str, Any]) -> None:
    sizes = {"window": case["window_size"], "pivot_rank": case["cutoff"], "buffer": case["buffer"]}
    relevance = case["relevance"][: case["depth"]]
    order, rounds = oracle(policy("top-down-reference", **sizes), relevance)
    assert order == case["ranking"]
    assert is_published(shown_in(rounds), case)
    assert all(len(windows) == 1 for windows in rounds)

    # Side by side: no call is missing but those on a list in order already, and the same passages lead.
    mended, rounds = oracle(policy("top-down", **sizes), relevance)
    ours, published = shown_in(rounds), [passages for passages in case["calls"] if len(passages) > 1]
    missing = [passages for passages in published if passages not in ours]
    assert missing in ([], published[-1:])
    assert all(relevance[a] >= relevance[b] for passages in missing for a, b in pairwise(passages))
    settled = case["cutoff"] - 1
    assert mended[:settled] == order[:settled]
    assert len(rounds) <= case["inferences"]


def test_top_down_keeps_what_a_later_round_drops_before_what_an_earlier_one_dropped() -> None:
    [case] = [c for c in PUBLISHED["tdpart"] if (c["n"], c["order"], c["buffer"]) == (100, "random", 20)]
    true_order = sorted(range(100), key=lambda i: -case["relevance"][i])
    order, _ = oracle(policy("top-down"), case["relevance"])
    kept = set(true_order[:30])
    assert max(order.index(i) for i in case["ranking"][-11:]) < 40  # the published code puts them last
    assert len(kept & set(order[:30])) > len(kept & set(case["ranking"][:30]))


@pytest.mark.parametrize(
    "case", [case for case in PUBLISHED["tourrank"] if "raises" not in case], ids=lambda case: case["order"]
)
def test_a_tournament_makes_the_published_calls(case: dict[str, Any]) -> None:
    order, rounds = oracle(policy("tournament"), case["relevance"])
    assert order == case["ranking"]
    assert [[sorted(window.positions), window.ranks] for windows in rounds for window in windows] == [
        [sorted(group), survivors] for group, survivors in case["groups"]
    ]
    assert [len(windows) for windows in rounds] == [5, 5, 1, 1, 1]
    ten, rounds = oracle(policy("tournament", tournaments=10), case["relevance"])
    assert ten == order  # the oracle is never of two minds
    assert [len(windows) for windows in rounds] == [50, 50, 10, 10, 10]
    assert len({tuple(passages) for passages in shown_in(rounds)}) > 100  # groups are shuffled anew


@given(count=st.integers(2, 130), window=st.integers(3, 20))
def test_the_best_passage_comes_through_a_tournament_of_any_size(count: int, window: int) -> None:
    relevance = [(37 * i) % 131 for i in range(count)]
    order, rounds = oracle(policy("tournament", window=window, step=1), relevance)
    playing = range(min(count, 100))
    best = sorted(playing, key=lambda i: -relevance[i])
    assert best[0] in order[:2]  # the last two have equal points
    assert all(len(passages) <= window for passages in shown_in(rounds))
    assert sum(len(passages) for passages in shown_in(rounds)) <= len(playing) + 50 + 20 + 10 + 5


@pytest.mark.parametrize(
    "case",
    [case for case in SORTED if case["method"] in SORTS and "faults" not in case],
    ids=lambda case: f"{case['method']}-{case['n']}-{case['num_child']}-{case['order']}",
)
def test_a_sort_makes_the_published_calls(case: dict[str, Any]) -> None:
    options = {"window": case["shown_at_once"], "step": 1}
    order, rounds = oracle(policy(SORTS[case["method"]], case["k"], **options), case["relevance"])
    assert order == case["ranking"]
    calls = shown_in(rounds)
    is_all_there = "calls" in case or len(calls) == case["comparisons"]
    assert is_published(calls, case) or (not is_all_there and case["method"] == "bubblesort")


@pytest.mark.parametrize(
    "case",
    [case for case in PUBLISHED["insertion"] if case["method"] == "insertion.max_compare"],
    ids=lambda case: (
        f"{case['n']}-{case['num_child']}-{case['order']}{'-faults' if 'faults' in case else ''}"
    ),
)
def test_insertion_that_reads_the_best_alone_makes_the_published_calls(case: dict[str, Any]) -> None:
    calls: list[list[int]] = []

    def best(items: Sequence[int]) -> Generator[None, None, int]:
        calls.append(list(items))
        yield
        is_fault = str(len(calls)) in case.get("faults", {})
        return 0 if is_fault else max(range(len(items)), key=lambda i: case["relevance"][items[i]])

    def finish(steps: Generator[None, None, list[int]]) -> list[int]:
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                return list(finished.value)

    assert finish(insertion_order(case["n"], case["k"], case["num_child"], best)) == case["ranking"]
    assert is_published(calls, case)


@pytest.mark.parametrize("name", POLICIES)
@given(data=st.data(), count=st.integers(0, 60), window=st.integers(3, 25), top=st.integers(1, 12))
def test_a_policy_returns_a_permutation_whatever_is_answered(
    name: str, data: st.DataObject, count: int, window: int, top: int
) -> None:
    random = data.draw(st.randoms(use_true_random=False))

    def rank(windows: list[Window]) -> list[list[int]]:
        assert windows
        for window_call in windows:
            assert 2 <= len(window_call.positions) == len(set(window_call.positions))
            assert 0 < window_call.ranks <= len(window_call.positions)
            assert len(window_call.positions) <= window or name == "full"
        return [random.sample(window_call.positions, len(window_call.positions)) for window_call in windows]

    options = {"window": window, "step": max(1, window // 2), "initial_order": "shuffled"}
    order = run_rounds(policy(name, top, **options).rounds(count, "q"), rank)
    assert sorted(order) == list(range(count))


@pytest.mark.parametrize("name", POLICIES)
def test_a_list_in_perfect_order_stays_in_order_at_the_top(name: str) -> None:
    order, _ = oracle(policy(name), list(range(100, 0, -1)))
    settled = 2 if name.startswith("tournament") else 9
    assert order[:settled] == list(range(settled))


CALLS = {  # of a hundred candidates whose order says nothing: windows, and rounds that follow one another
    "sliding": (9, 9),
    "sliding-reference": (9, 9),
    "sliding-aligned": (9, 9),
    "sliding-rank-k": (9, 9),
    "full": (1, 1),
    "first-window": (1, 1),
    "top-down": (7, 3),
    "top-down-reference": (4, 4),
    "tournament": (13, 5),
    "tournament-llm4ranking": (19, 5),
    "heap-sort": (22, 22),
    "bubble-sort": (45, 45),
    "insertion-sort": (27, 27),
}


@pytest.mark.parametrize("name", POLICIES)
def test_the_calls_of_a_hundred_candidates_are_known_beforehand(name: WindowPolicyName) -> None:
    rounds = policy(name).expected(100)
    assert (len(shown_in(rounds)), len(rounds)) == CALLS[name]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window_policy": "sliding", "window": 4, "step": 5}, "do not fit"),
        ({"window_policy": "heap-sort", "window": 0}, "at least 2 passages"),
        ({"window_policy": "tournament", "window": 2, "step": 1}, "at least 3 passages"),
        ({"window_policy": "top-down", "window": 5, "pivot_rank": 5}, "pivot_rank 5"),
        ({"buffer": 5}, "buffer belongs to"),
        ({"pivot_rank": 5, "window_policy": "full"}, "pivot_rank belongs to"),
        ({"tournaments": 2}, "tournaments belongs to tournament and tournament-llm4ranking"),
        ({"stage_weight": 0.5, "window_policy": "tournament"}, "stage_weight belongs to"),
        ({"windows_from": 45}, "windows_from belongs to sliding-rank-k"),
        ({"window_policy": "tournament-llm4ranking", "window": 2, "step": 1}, "at least 3 passages"),
        ({"window_policy": "sliding-aligned", "window": 4, "step": 5}, "do not fit"),
    ],
)
def test_options_that_do_not_fit_a_policy_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        WindowOptions.model_validate(options)
    with pytest.raises(InputError, match=words):
        validated("rankgpt", {"backend": "transformers", "model": "m", **options})


@pytest.mark.parametrize("reranker", ["rankgpt", "first", "pe-rank"])
@pytest.mark.parametrize("name", POLICIES)
def test_listwise_methods_take_every_policy(reranker: str, name: str) -> None:
    more: dict[str, Any] = {"backend": "transformers"} if reranker == "rankgpt" else {}
    assert dict(validated(reranker, {"model": "m", "window_policy": name, **more}))["window_policy"] == name
