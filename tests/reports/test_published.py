from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.store import read_results
from reports import published
from reports.charts.depth import depth_trade_off
from reports.charts.look import PAGE
from reports.context import build
from reports.tables import tables

if TYPE_CHECKING:
    from reports.values import Context
    from tests.reports.conftest import Folder

TEXTS = {f"q{i}": [f"{n}" for n in range(100)] for i in range(4)}
QRELS = {query_id: {"d50": 1} for query_id in TEXTS}


@pytest.fixture
def on_dl19(folder: Folder) -> Context:
    """A system whose score, 1.0, is published as 0.7311."""
    pool = folder.pool(TEXTS, QRELS, "msmarco-passage/trec-dl-2019/judged")
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(
        pool,
        "Large",
        lambda _: [50, *range(50), *range(51, 100)],
        reranker="cross-encoder",
        options={"model": "BAAI/bge-reranker-large"},
    )
    return build([read_results(folder.path)])


def test_every_published_figure_names_its_source_and_a_tolerance() -> None:
    assert len(published.figures()) > 50
    for figure in published.figures():
        assert figure.source
        assert 0 < figure.tolerance < 0.05
        assert 0 < figure.value < 1


def test_a_reproduction_is_compared_and_judged_by_its_tolerance(on_dl19: Context) -> None:
    (one,) = tables(on_dl19, "reproduction")
    row = next(row for row in one.rows if row.label == "bge-reranker-large")
    cells = dict(zip([head.name for head in one.columns], row.cells, strict=True))
    assert (cells["published"].value, cells["ours"].value) == (0.7311, 1.0)
    assert cells["difference"].value == pytest.approx(1.0 - 0.7311)
    assert cells["inside"].text == "no"


def test_published_figures_stand_in_a_table_of_their_own_and_are_never_marked(on_dl19: Context) -> None:
    (one,) = tables(on_dl19, "published")
    assert len(one.rows) > 20
    assert not [cell for row in one.rows for cell in row.cells if cell.mark]
    assert "RankZephyr-7B" not in [row.label for row in tables(on_dl19, "headline")[0].rows]


def test_another_depth_or_dataset_reproduces_nothing(folder: Folder) -> None:
    texts = {query_id: passages[:20] for query_id, passages in TEXTS.items()}
    for dataset in ("dl19", "elsewhere"):
        pool = folder.pool(texts, QRELS, dataset)
        folder.cell(pool, "L", folder.kept, reranker="cross-encoder", options={"model": "bge-reranker-large"})
    assert tables(build([read_results(folder.path)]), "reproduction") == []


def test_runs_without_latencies_are_drawn_against_depth_with_a_pareto_front(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.imported(pool, "Theirs", lambda _: [50, *range(50), *range(51, 100)])
    (group,) = build([read_results(folder.path)]).groups
    system = group.system("Theirs")
    assert system.by_depth == {10: 0.0, 20: 0.0, 30: 0.0, 50: 0.0, 75: 1.0, 100: 1.0}
    drawn = depth_trade_off(group, PAGE)
    assert drawn is not None
    front = [row["x"] for row in drawn["data"]["values"] if row["front"]]
    assert front == [10, 75]  # the cheapest of all, and the cheapest of the best
