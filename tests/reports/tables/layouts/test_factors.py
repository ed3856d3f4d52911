"""Factors are ranked by effect, with interval, test and cost of each level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.comparisons import ablation
from reports.analysis.context import build
from reports.tables.by_name import tables
from rerankers.interface import Usage

if TYPE_CHECKING:
    from reports.tables.cells import Cell, Table
    from tests.reports.conftest import Folder

TEXTS = {f"q{i}": ["x", "y", "z"] for i in range(8)}
QRELS = {query_id: {"d2": 1} for query_id in TEXTS}
SECOND, THIRD = 1 / math.log2(2 + 1), 1 / math.log2(3 + 1)  # nDCG of the relevant passage at that rank
MODEL = {"model": "m"}


def factors(folder: Folder) -> Table:
    [table] = tables(build([read_results(folder.path)]), "factors")
    return table


def cells(factor_table: Table, label: str) -> dict[str, Cell]:
    row = next(row for row in factor_table.rows if row.label == label)
    return {head.name: cell for head, cell in zip(factor_table.columns, row.cells, strict=True)}


@pytest.fixture
def varied(folder: Folder) -> Folder:
    """Return a base with the default window, 20, beside another window and another step, which is better."""
    pool = folder.pool(TEXTS, QRELS)
    for label, options, order, seconds in (
        ("base", {}, folder.kept, 0.4),
        ("window", {"window": 10}, lambda _: [0, 2, 1], 0.2),
        ("step", {"step": 5}, folder.turned, 0.8),
    ):
        folder.cell(
            pool,
            label,
            order,
            reranker="rankgpt",
            options={**MODEL, **options},
            seconds=lambda _, seconds=seconds: seconds,  # type: ignore[misc]
            usage=lambda: Usage(llm_calls=3, prompt_tokens=900, generated_tokens=100, dollars=0.002),
        )
    return folder


def test_the_factor_of_the_largest_effect_stands_first(varied: Folder) -> None:
    assert [row.label for row in factors(varied).rows] == [
        "step: 10 (base)",
        "step: 5",
        "window: 20 (base)",
        "window: 10",
    ]


def test_a_level_has_its_change_with_interval_and_test_and_its_cost(varied: Folder) -> None:
    table = factors(varied)
    step = cells(table, "step: 5")
    assert step["change"].value == pytest.approx(1 - THIRD)
    assert (step["change"].low, step["change"].high) == pytest.approx((1 - THIRD, 1 - THIRD))
    assert step["change"].change == "better"
    assert step["change"].p_holm is not None
    assert step["p"].text == "<\u00a00.001"
    assert step["p50"].value == pytest.approx(800)
    assert (step["calls"].value, step["tokens"].value, step["dollars"].value) == (3, 1000, 0.002)
    assert cells(table, "window: 10")["change"].value == pytest.approx(SECOND - THIRD)
    assert cells(table, "step: 10 (base)")["change"].value is None


def test_an_option_left_at_its_default_is_at_that_level(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "a", folder.kept, reranker="rankgpt", options={**MODEL, "window": 10})
    folder.cell(pool, "b", folder.turned, reranker="rankgpt", options={**MODEL, "step": 10})
    [factor] = ablation.factors(build([read_results(folder.path)]))  # both have step 10
    assert (factor.name, [point.level for point in factor.series[0].points]) == ("window", [10, 20])


def test_a_class_of_one_s_own_has_the_defaults_of_its_record(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for label, options in (("base", {}), ("wide", {"window": 9}), ("alike", {"window": 4})):
        described = {"defaults": {name: 4 for name in ("window",) if name not in options}}
        folder.cell(pool, label, folder.turned, reranker="own:S", options=options, described=described)
    assert [row.label for row in factors(folder).rows] == ["window: 4 (base)", "window: 9"]


def test_methods_of_a_cascade_are_no_levels_of_a_setting(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for name in ("embedding", "cross-encoder"):
        steps = [{"reranker": name, "options": MODEL}]
        folder.cell(pool, name, folder.turned, reranker="cascade", options={"steps": steps})
    assert tables(build([read_results(folder.path)]), "ablation") == []


def test_no_level_is_written_as_json(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for place, heads in enumerate(([[1, 2]], None, True, {"a": 1})):
        folder.cell(pool, f"S{place}", folder.turned, reranker="own:S", options={"heads": heads})
    assert [row.label for row in factors(folder).rows] == [
        "heads: 1, 2 (base)",
        "heads: none",
        "heads: on",
        "heads: a 1",
    ]
