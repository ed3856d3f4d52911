"""Values by a model's grades stand beside those of the dataset, and never replace them."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.tables.by_name import table

if TYPE_CHECKING:
    from tests.reports.conftest import Folder

QUERIES = ("q1", "q2", "q3")
OWN = {query_id: {"d1": 1, "d2": 0} for query_id in QUERIES}
MODEL = {query_id: {"d0": 3, "d1": 1, "d2": 1} for query_id in QUERIES}


@pytest.fixture
def judged(folder: Folder) -> Folder:
    """Return results in which the dataset prefers Turned, which ranks d2, d1, d0, to the first stage."""
    pool = folder.pool({query_id: ["zero", "one", "two"] for query_id in QUERIES}, OWN)
    folder.cell(pool, "BM25", folder.kept, reranker="first-stage")
    folder.cell(pool, "Turned", lambda request: [1, 2, 0])
    folder.judge(pool, MODEL)
    return folder


def rows(folder: Folder, layout: str) -> dict[str, dict[str, str]]:
    lines = csv.DictReader(io.StringIO(table([folder.path], "csv", layout)))
    return {row["system"]: row for row in lines}


def test_values_filled_by_a_model_stand_beside_the_datasets_own(judged: Folder) -> None:
    table_rows = rows(judged, "judgements")
    # By the dataset d1 alone is relevant: first, or second.
    assert float(table_rows["Turned"]["own:nDCG@10"]) == 1.0
    assert float(table_rows["BM25"]["own:nDCG@10"]) == pytest.approx(1 / math.log2(3))
    # The model gives d0 a 3; d2 keeps the dataset's 0. Ideal: 3 + 1 / log2(3).
    ideal = 3 + 1 / math.log2(3)
    assert float(table_rows["BM25"]["filled-1:nDCG@10"]) == 1.0
    assert float(table_rows["Turned"]["filled-1:nDCG@10"]) == pytest.approx((1 + 3 / math.log2(4)) / ideal)
    assert [float(table_rows["BM25"][f"{source}:Judged@10"]) for source in ("own", "filled-1")] == [
        pytest.approx(2 / 3),
        1.0,
    ]


def test_the_headline_rests_on_the_dataset_alone(judged: Folder) -> None:
    headline = rows(judged, "headline")
    assert float(headline["Turned"]["nDCG@10"]) == 1.0


def test_a_finding_says_that_the_models_grades_turn_the_order(judged: Folder) -> None:
    [group] = build([read_results(judged.path)]).groups
    sentences = ["".join(sentence) for sentence in group.findings]
    assert sentences[0].startswith("Turned ranks best")
    assert (
        "With 3 unjudged passages graded by judge, BM25 ranks best (nDCG@10 1.000), and no longer Turned."
        in sentences
    )


def test_the_agreement_is_of_passages_that_both_judged(judged: Folder) -> None:
    table_rows = rows(judged, "agreement")
    # d1: 1 and 1; d2: 0 and 1. The model gave one grade throughout, so agreement is what chance gives.
    assert table_rows["grade 1 in the dataset"]["grade:1"] == "3"
    assert table_rows["grade 0 in the dataset"]["grade:1"] == "3"
    assert {(row["passages"], row["equal"], row["kappa"]) for row in table_rows.values()} == {
        ("6", "0.5000", "0.0000")
    }


def test_without_judgements_the_models_grades_are_the_only_ones(folder: Folder) -> None:
    pool = folder.pool({query_id: ["zero", "one", "two"] for query_id in QUERIES}, {})
    folder.cell(pool, "BM25", folder.kept, reranker="first-stage")
    folder.cell(pool, "Turned", folder.turned)
    folder.judge(pool, MODEL)
    table_rows = rows(folder, "judgements")
    assert float(table_rows["BM25"]["filled-1:nDCG@10"]) == 1.0
    assert "own:nDCG@10" not in table_rows["BM25"]


def test_replicates_are_averaged_by_the_models_grades_too(folder: Folder) -> None:
    pool = folder.pool({query_id: ["zero", "one", "two"] for query_id in QUERIES}, OWN)
    for seed, order in enumerate((folder.kept, folder.turned)):
        folder.cell(pool, "Drawn", order, options={"seed": seed})
    folder.judge(pool, MODEL)
    turned = (1 / math.log2(3) + 3 / math.log2(4)) / (3 + 1 / math.log2(3))
    assert float(rows(folder, "judgements")["Drawn"]["filled-1:nDCG@10"]) == pytest.approx((1 + turned) / 2)


def test_a_models_hostile_name_is_text_in_the_page(judged: Folder) -> None:
    from reports.formats.html import render

    pool = read_results(judged.path).pool(next(judged.path.glob("pools/*/pool.jsonl.gz")).parent.name)
    judged.judge(pool, MODEL, "m<script>alert(1)</script>".replace("/", "⁄"))
    page = render(build([read_results(judged.path)]))
    assert "<script>alert(1)" not in page
    assert "graded by judge" in page
