from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import vl_convert

from benchmarks.results.store import read_results
from reports.analysis.comparisons.ablation import factors
from reports.analysis.context import build
from reports.charts.curves import quality_curve
from reports.charts.depth import depth_trade_off
from reports.charts.latency import distribution
from reports.charts.stages import stage_bars
from reports.charts.theme import PAPER, PHONE, named_rows
from reports.charts.thinking import thinking_curve

if TYPE_CHECKING:
    from reports.analysis.values import Group
    from reports.charts.theme import Spec
    from tests.reports.conftest import Folder

TEXTS = {f"q{i}": [str(n) for n in range(100)] for i in range(4)}
QRELS = {query_id: {"d9": 1} for query_id in TEXTS}
LONG = "Query likelihood SmolLM2 with a prompt of its own"


def drawn(specification: Spec | None) -> str:
    """Return the picture as SVG."""
    assert specification is not None
    svg: str = vl_convert.vegalite_to_svg(specification)
    return svg


@pytest.fixture
def timed(folder: Folder) -> Group:
    """Return a system that takes a ten-thousandth of another's time,
    and two whose names differ at the end.
    """
    pool = folder.pool({"q": ["x", "y"]}, {"q": {"d1": 1}})
    folder.cell(pool, "Quick", folder.kept, seconds=lambda _: 1e-4, stages={"order": 1e-4})
    for end in "ab":
        folder.cell(pool, f"{LONG} {end}", folder.turned, seconds=lambda _: 1.0, stages={"forward": 1.0})
    (group,) = build([read_results(folder.path)]).groups
    return group


def test_depths_and_levels_stand_on_their_axis_to_the_digit(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.imported(pool, "theirs", folder.turned)
    for temperature in (0.25, 12.5, 100):
        folder.cell(pool, f"t {temperature}", folder.kept, options={"temperature": temperature})
    context = build([read_results(folder.path)])
    depths = drawn(depth_trade_off(context.groups[0], PAPER))
    assert all(f">{depth}</text>" in depths for depth in (10, 20, 30, 50, 75, 100))
    levels = drawn(quality_curve(factors(context)[0], PAPER))
    assert all(f">{level}</text>" in levels for level in (0.25, 12.5, 100))


def test_quality_is_drawn_against_the_thinking_budget_that_was_varied(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "without a budget", folder.kept, options={"model": "m"})
    folder.cell(pool, "alone", folder.kept, options={"model": "other", "reasoning_tokens": 7})
    (group,) = build([read_results(folder.path)]).groups
    assert thinking_curve(group, PAPER) is None
    for budget in (0, 64, 512):
        order = folder.turned if budget else folder.kept
        folder.cell(pool, f"budget {budget}", order, options={"model": "m", "reasoning_tokens": budget})
    (group,) = build([read_results(folder.path)]).groups
    specification = thinking_curve(group, PAPER)
    assert specification is not None
    points = specification["data"]["values"]
    assert sorted(point["x"] for point in points) == [0, 64, 512]
    assert len({point["line"] for point in points}) == 1
    picture = drawn(specification)
    assert all(f">{budget}</text>" in picture for budget in (0, 64, 512))
    assert "Budget of thinking tokens" in picture


def test_a_system_too_fast_for_its_bar_to_be_seen_keeps_its_row_and_its_number(timed: Group) -> None:
    bars = drawn(stage_bars(timed, share=False, theme=PAPER))
    assert ">Quick</text>" in bars
    assert ">0.10 ms</text>" in bars
    assert ">order</text>" not in bars  # a legend of what nobody sees


def test_long_names_break_in_the_middle_and_stay_two_systems(timed: Group) -> None:
    labels = [system.label for system in timed.systems if system.label.startswith(LONG)]
    rows = named_rows(labels, PHONE)
    assert len(set(rows.values())) == len(labels) == 2
    assert [row.split("\n")[1:] for row in rows.values()] == [
        ["Query likelihood SmolLM2", f"with a prompt of its own {end}"] for end in "ab"
    ]
    specification = distribution(timed, PHONE)
    assert specification is not None
    assert len({value["row"] for value in specification["data"]["values"]}) == 3
