"""Shares of the reachable gain, outcomes by query and bounds, on three passages anyone can rank."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.charts.theme import PAPER
from reports.charts.trade_off import trade_off
from reports.formats import vega
from reports.tables.by_name import tables

if TYPE_CHECKING:
    from tests.reports.conftest import Folder


def test_gain_outcomes_and_bounds_of_one_query_each(folder: Folder) -> None:
    texts = {f"q{i}": ["x", "y", "z"] for i in range(4)}
    pool = folder.pool(texts, {query_id: {"d1": 2, "d2": 0} for query_id in texts})  # nobody judged d0
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "half", lambda r: [1, 0, 2] if r.query_id < "q2" else [0, 1, 2])
    (table,) = tables(build([read_results(folder.path)]), "interpretation")
    names = [head.name for head in table.columns]
    rows = {row.label: dict(zip(names, row.cells, strict=True)) for row in table.rows}
    second = 1 / math.log2(3)  # nDCG with the only relevant passage in second place
    half = rows["half"]
    assert half["nDCG@10"].value == pytest.approx((1 + second) / 2)
    assert half["gain"].value == pytest.approx(0.5)
    assert [half[name].value for name in ("wins", "draws", "losses")] == [2, 2, 0]
    assert half["lowest"].value == pytest.approx((1 + second) / 2)
    assert half["highest"].value == pytest.approx(1.0)  # d0 may be as relevant as d1
    assert rows["First stage"]["gain"].text == "0\u202f%"
    assert any("nDCG@10 1.0000" in note for note in table.legend)


def test_points_without_room_for_a_name_are_numbered_in_figures_too(folder: Folder) -> None:
    texts = {f"q{i}": ["x"] * 3 for i in range(4)}
    pool = folder.pool(texts, {query_id: {"d2": 1} for query_id in texts})
    names = [f"A method of a long name, number {n}" for n in range(6)]
    for place, name in enumerate(names):
        folder.cell(pool, name, folder.turned, seconds=lambda _, place=place: 1 + place / 100)  # type: ignore[misc]
    (group,) = build([read_results(folder.path)]).groups
    chart = trade_off(group, PAPER)
    assert chart is not None
    svg, _ = vega.figure(chart)
    assert all(name in svg for name in names)
    assert "6  A method" in svg
