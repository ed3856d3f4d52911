from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.comparisons import ablation
from reports.analysis.context import build
from reports.charts.curves import latency_curve, quality_curve
from reports.charts.theme import PAGE
from reports.tables.by_name import table, tables
from rerankers.errors import InputError

if TYPE_CHECKING:
    from reports.analysis.values import Context
    from tests.reports.conftest import Folder

TEXTS = {f"q{i}": ["x", "y", "z"] for i in range(8)}
QRELS = {query_id: {"d2": 1} for query_id in TEXTS}
LAST = 1 / math.log2(3 + 1)  # nDCG of the relevant passage at rank 3


@pytest.fixture
def swept(folder: Folder) -> Context:
    """Two encoders behind two first stages on two datasets, where the second encoder is perfect."""
    for dataset in ("easy", "hard"):
        for first_stage in ({"kind": "bm25"}, {"kind": "dense", "model": "mini"}):
            texts = {query_id: [first_stage["kind"]] * 3 for query_id in TEXTS}  # other pools, so other texts
            pool = folder.pool(texts, QRELS, dataset, first_stage=first_stage)
            folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
            folder.cell(pool, "A", folder.kept, options={"encoder": "a", "window": 20})
            folder.cell(pool, "B", folder.turned, options={"encoder": "b", "window": 20})
    return build([read_results(folder.path)])


def test_a_setting_that_varies_alone_is_a_factor_and_its_first_level_the_baseline(swept: Context) -> None:
    by_name = {factor.name: factor for factor in ablation.factors(swept)}
    assert list(by_name) == ["encoder", "first stage"]
    assert [point.level for point in by_name["encoder"].series[0].points] == ["a", "b"]
    assert len(by_name["encoder"].series) == 2 * 2  # datasets x first stages


def test_the_matrix_has_a_column_for_each_pool_with_changes_and_corrected_tests(swept: Context) -> None:
    result_table = tables(swept, "ablation")[0]
    assert [title for title, _ in result_table.sections] == [
        "easy, BM25",
        "easy, dense mini",
        "hard, BM25",
        "hard, dense mini",
    ]
    assert [row.label for row in result_table.rows] == ["A (a)", "B (b)"]
    value, change = result_table.rows[1].cells[:2]
    assert value.value == 1.0
    assert change.value == pytest.approx(1 - LAST)
    assert (change.text, change.change) == ("+0.5000", "better")
    assert result_table.rows[0].cells[1].value is None
    assert result_table.legend[0] == "All on top 3"
    assert "over the 4 changes" in result_table.legend[2]


def test_numbers_that_vary_have_a_curve_of_quality_and_one_of_latency(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for window, order in ((2, folder.kept), (3, folder.turned)):
        folder.cell(pool, f"W{window}", order, seconds=lambda _: 0.5, options={"window": window})
    (factor,) = ablation.factors(build([read_results(folder.path)]))
    quality, latency = quality_curve(factor, PAGE), latency_curve(factor, PAGE)
    assert quality is not None
    assert latency is not None
    assert [(row["x"], row["y"]) for row in quality["data"]["values"]] == [(2, LAST), (3, 1.0)]
    assert [row["y"] for row in latency["data"]["values"]] == [500.0, 500.0]


def test_a_line_is_named_by_what_its_systems_and_pools_do_not_share(folder: Folder) -> None:
    for dataset in ("easy", "hard"):
        pool = folder.pool(TEXTS, QRELS, dataset)
        for window in (2, 3):
            folder.cell(pool, f"RankGPT, window {window}", folder.turned, options={"window": window})
    (factor,) = ablation.factors(build([read_results(folder.path)]))
    drawn = quality_curve(factor, PAGE)
    assert drawn is not None
    assert {row["line"] for row in drawn["data"]["values"]} == {
        "RankGPT, easy",
        "RankGPT, hard",
    }
    assert factor.shared == "BM25, top 3"


def test_depth_is_a_factor_compared_on_the_same_queries(folder: Folder) -> None:
    for depth in (2, 3):
        pool = folder.pool({query_id: texts[:depth] for query_id, texts in TEXTS.items()}, QRELS)
        folder.cell(pool, "S", folder.turned)
    (factor,) = ablation.factors(build([read_results(folder.path)]))
    assert factor.name == "candidate depth"
    (result_table,) = tables(build([read_results(folder.path)]), "ablation")
    assert [head.title for head in result_table.columns] == [
        "2",
        "3",
        "change",
    ]  # a row a system, a column a level
    assert [cell.value for cell in result_table.rows[0].cells] == pytest.approx(
        [0.0, 1.0, 1.0]
    )  # it is third


def test_without_a_factor_the_layout_says_what_it_needs(folder: Folder) -> None:
    folder.cell(folder.pool(TEXTS, QRELS), "S", folder.kept)
    with pytest.raises(InputError, match="takes two values"):
        table([folder.path], "latex", "ablation")
