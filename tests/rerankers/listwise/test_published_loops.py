"""Window loops of other published codes: llm4ranking's tournaments, TDPart's windows, Rank-K's windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rerankers.listwise.windows import Window, WindowPlan, run_rounds
from rerankers.listwise.windows.tournament import LLM4RANKING_STAGES, rank_by_group_tournaments
from rerankers.methods.windows import WindowOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.listwise.windows import Rounds

GOLDEN = Path(__file__).parents[2] / "golden"
PUBLISHED: dict[str, Any] = json.loads((GOLDEN / "windows" / "comparisons.json").read_text(encoding="utf-8"))
REASONING: dict[str, Any] = json.loads((GOLDEN / "reasoning" / "golden.json").read_text(encoding="utf-8"))
TOURNAMENTS = [case for case in PUBLISHED["llm4ranking"] if case["strategy"] == "Tournament"]


def oracle(rounds: Rounds, relevance: Sequence[float]) -> tuple[list[int], list[list[Window]]]:
    """Return the order by a comparator that knows the relevance, and the rounds of its windows."""
    seen: list[list[Window]] = []

    def rank(windows: list[Window]) -> list[list[int]]:
        seen.append(windows)
        return [sorted(window.positions, key=lambda i: -relevance[i]) for window in windows]

    return run_rounds(rounds, rank), seen


def planned(name: str, count: int, **options: Any) -> Rounds:
    return WindowPlan(WindowOptions.model_validate({"window_policy": name, **options})).rounds(count)


def shown_in(rounds: list[list[Window]]) -> list[list[int]]:
    return [window.positions for windows in rounds for window in windows]


@pytest.mark.parametrize("case", TOURNAMENTS, ids=lambda case: f"{case['n']}-{len(case['parameters'])}")
def test_tournaments_of_llm4ranking_make_its_calls(case: dict[str, Any]) -> None:
    parameters, relevance = case["parameters"], case["relevance"]
    stages: Sequence[tuple[int, int]] = LLM4RANKING_STAGES
    if "group_sizes" in parameters:
        stages = tuple(zip(parameters["group_sizes"], parameters["promotion_sizes"], strict=True))
    rounds = rank_by_group_tournaments(
        list(range(case["n"])),
        20,
        parameters.get("tournament_times", 1),
        "0:q",
        stages,
        parameters.get("stage_weight", 0.0),
    )
    order, seen = oracle(rounds, relevance)
    assert order == case["ranking"]
    calls = [sorted(passages) for passages in shown_in(seen)]  # groups are shuffled there and here
    assert calls == case["calls"]
    assert len(calls) == case["calls_count"]
    assert len(seen) <= 5 * parameters.get("tournament_times", 1)  # groups of a stage run side by side


def test_tournaments_of_llm4ranking_are_a_policy() -> None:
    [case] = [c for c in TOURNAMENTS if c["n"] == 100 and c["parameters"].get("tournament_times") == 2]
    options = {"tournaments": 2, "stage_weight": 0.5}
    order, seen = oracle(planned("tournament-llm4ranking", 100, **options), case["relevance"])
    assert order == case["ranking"]
    assert len(shown_in(seen)) == 38


@pytest.mark.parametrize(
    "case", PUBLISHED["tdpart"], ids=lambda case: f"{case['mode']}-{case['n']}-{case['window_size']}"
)
def test_windows_of_tdpart_are_its_own(case: dict[str, Any]) -> None:
    name = {"sliding": "sliding-aligned", "single": "first-window"}[case["mode"]]
    sizes = {"window": case["window_size"], "step": case["stride"]}
    order, seen = oracle(planned(name, case["n"], **sizes), case["relevance"])
    assert order == case["ranking"]
    assert shown_in(seen) == case["calls"]
    assert len(seen) == case["inferences"]


@pytest.mark.parametrize("case", REASONING["rankk_windows"], ids=lambda case: f"{case['n']}-{case['depth']}")
def test_windows_of_rank_k_are_counted_from_its_depth(case: dict[str, Any]) -> None:
    order, seen = oracle(planned("sliding-rank-k", case["n"], windows_from=case["depth"]), case["relevance"])
    assert order == case["ranking"]
    assert shown_in(seen) == [passages for passages in case["shown"] if len(passages) > 1]
    empty = [passages for passages in case["shown"] if not passages]
    assert len(seen) == len(case["shown"]) - len(empty)  # its calls without a passage cost nothing here


def test_a_depth_that_the_step_does_not_divide_leaves_passages_unranked() -> None:
    reversed_order = list(range(25))
    order, _ = oracle(planned("sliding-rank-k", 25, windows_from=25), reversed_order)
    assert order[:5] == [0, 1, 2, 3, 4]
    assert oracle(planned("sliding", 25), reversed_order)[0][0] == 24
