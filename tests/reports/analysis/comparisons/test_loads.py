"""Systems under load: a table and a curve, and the highest load that keeps an SLO."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.cell import CellWriter
from benchmarks.results.record import Protocol, Record, Served, Session, System
from benchmarks.results.store import read_results, write_experiment
from reports.analysis.context import build
from reports.charts.loads import load_curve
from reports.charts.theme import PAPER
from reports.formats import latex
from reports.formats.html import render
from reports.tables.by_name import tables
from rerankers import Ranking
from rerankers.interface import Cost
from tests.reports.formats.pdflatex import compiled

if TYPE_CHECKING:
    from pathlib import Path

    from reports.analysis.values import Context
    from tests.reports.conftest import Folder

TEXTS = {f"q{i}": ["x", "y", "z"] for i in range(20)}


@pytest.fixture
def context(folder: Folder) -> Context:
    """Build a report of one system that takes 0.2 s, alone and at three rates with ever longer queues."""
    pool = folder.pool(TEXTS, {query_id: {"d2": 1} for query_id in TEXTS})
    loads = [
        (Served.model_validate({"concurrency": 1, "slo": "p95 < 0.5 s"}), 0.0),
        *(
            (Served.model_validate({"rate": rate, "slo": "p95 < 0.5 s"}), queued)
            for rate, queued in ((4.0, 0.6), (1.0, 0.0), (2.0, 0.1))
        ),
    ]
    for number, (served, queued) in enumerate(loads):
        record = Record(
            cell=f"cell-{number}",
            experiment="load",
            status="running",
            system=System(label=f"MiniLM, {served.short}", reranker="embedding"),
            dataset=pool.dataset,
            first_stage=pool.first_stage,
            depth=pool.depth,
            pool=pool.digest,
            measures=("nDCG@10",),
            protocol=Protocol(mode="served", served=served),
            sessions=(Session(started_at="2025-03-01T10:00:00Z", environment={}),),
        )
        with CellWriter(folder.path / record.cell, record) as writer:
            for place, request in enumerate(pool.requests()):
                arrived = place / (served.rate or 5.0)
                ranking = Ranking.of(request, folder.turned(request), Cost())
                writer.add([ranking], 0, 0.2 + queued, arrived, queued)
            writer.update(status="done")
    write_experiment(folder.path, "load", [f"cell-{number}" for number in range(4)], {})
    return build([read_results(folder.path)])


def test_the_table_has_load_arrivals_and_slo_beside_the_percentiles(context: Context) -> None:
    (table,) = tables(context, "loads")
    texts = [[row.label, *(cell.text for cell in row.cells)] for row in table.rows]
    assert [text[:4] for text in texts] == [
        ["MiniLM, 1 client", "–", "1", "after each answer"],
        ["MiniLM, 1/s", "1.00", "–", "poisson"],
        ["MiniLM, 2/s", "2.00", "–", "poisson"],
        ["MiniLM, 4/s", "4.00", "–", "poisson"],
    ]
    assert [text[4] for text in texts] == ["200", "200", "300", "800"]
    assert [text[-2:] for text in texts] == [["p95 < 0.5 s", "yes"]] * 3 + [["p95 < 0.5 s", "no"]]
    (headline,) = tables(context, "headline")
    assert {"rate", "clients"} <= {head.name for head in headline.columns}
    assert any("SLO p95 < 0.5 s" in note.text and "poisson" in note.text for note in headline.notes)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdfLaTeX is not installed")
def test_the_table_compiles_without_a_warning(context: Context, tmp_path: Path) -> None:
    log = compiled(latex.render(tables(context, "loads")), tmp_path / "latex")
    assert re.findall(r".*(?:Warning|Overfull|Underfull|Missing).*", log) == []


def test_the_finding_names_the_highest_load_that_keeps_the_slo(context: Context) -> None:
    sentences = ["".join(sentence) for sentence in context.groups[0].findings]
    assert "MiniLM keeps p95 < 0.5 s up to 2 requests a second, and misses it at 4." in sentences


def test_the_curve_has_three_percentiles_against_the_rate_and_the_bound(context: Context) -> None:
    curve = load_curve(context.groups[0], PAPER)
    assert curve is not None
    points = {(point["percentile"], point["x"]): point["y"] for point in curve["data"]["values"]}
    assert points.keys() == {(name, rate) for name in ("p50", "p95", "p99") for rate in (1.0, 2.0, 4.0)}
    assert points["p95", 4.0] == pytest.approx(800)
    assert curve["layer"][0]["data"]["values"] == [{"bound": 500.0, "slo": "p95 < 0.5 s"}]
    page = render(context)
    assert 'id="g1-loads"' in page
    assert "Latency under load" in page


def test_what_was_not_served_has_neither(folder: Folder) -> None:
    folder.cell(folder.pool(TEXTS, {}), "S", folder.kept)
    context = build([read_results(folder.path)])
    assert tables(context, "loads") == []
    assert load_curve(context.groups[0], PAPER) is None
