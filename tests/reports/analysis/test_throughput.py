"""Throughput is shown as a rate, and amortised time is called no latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats.html import render
from reports.tables.by_name import tables

if TYPE_CHECKING:
    from tests.reports.conftest import Folder


def test_throughput_shows_queries_and_passages_per_second_and_no_latency(folder: Folder) -> None:
    texts = {"q0": ["x", "y", "z"], "q1": ["x"], "q2": ["x", "y"]}
    pool = folder.pool(texts, {query_id: {"d0": 1} for query_id in texts})
    folder.cell(pool, "Fast", folder.kept, mode="throughput", seconds=lambda _: 0.25)
    folder.cell(pool, "Slow", folder.kept, mode="throughput", seconds=lambda _: 0.5)
    context = build([read_results(folder.path)])
    (group,) = context.groups
    fast = group.system("Fast").work.counts
    assert fast["queries_per_second"] == pytest.approx(3 / 0.75)
    assert fast["passages_per_second"] == pytest.approx((3 + 1 + 2) / 0.75)
    (headline,) = tables(context, "headline")
    names = [head.name for head in headline.columns]
    assert {"queries_per_second", "passages_per_second", "speedup"} <= {*names}
    for layout in ("headline", "stages", "costs"):
        for table in tables(context, layout):
            assert not {"p50", "p95", "p99", "mean"} & {head.name for head in table.columns}
            assert "atency" not in table.caption
    page = render(context)
    assert "Latency per query" not in page
    assert "How latency is distributed" not in page


def test_latency_mode_has_no_throughput(folder: Folder) -> None:
    pool = folder.pool({"q": ["x", "y"]}, {"q": {"d0": 1}})
    folder.cell(pool, "S", folder.kept)
    (group,) = build([read_results(folder.path)]).groups
    assert "queries_per_second" not in group.system("S").work.counts
