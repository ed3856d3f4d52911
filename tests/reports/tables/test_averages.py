"""Averages over the datasets of a suite, and what their test pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.record import SuiteMember
from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.tables.by_name import tables

if TYPE_CHECKING:
    from reports.tables.cells import Cell, Table
    from tests.reports.conftest import Folder

SECOND = 1 / math.log2(2 + 1)
"""nDCG@10 of the only relevant passage at the second rank."""


def write(folder: Folder, datasets: int, part_of: dict[int, str] | None = None, suite: str = "ours") -> None:
    """Write datasets of one query with two passages: the first stage is wrong on each, Turned right."""
    for place in range(datasets):
        name = f"{suite}-set{place}"
        pool = folder.pool({f"q{place}": ["x", "y"]}, {f"q{place}": {"d1": 1}}, name)
        member = SuiteMember(
            name=suite, title=f"set{place}", datasets=datasets, part_of=(part_of or {}).get(place)
        )
        folder.cell(pool, "First stage", folder.kept, reranker="first-stage", suite=member)
        folder.cell(pool, "Turned", folder.turned, suite=member)
        folder.cell(pool, "Mixed", folder.turned if place < 2 else folder.kept, suite=member)


def built(folder: Folder) -> list[Table]:
    return tables(build([read_results(folder.path)]), "datasets")


def average(table: Table, label: str) -> Cell:
    row = next(row for row in table.rows if row.label == label)
    return row.cells[[head.name for head in table.columns].index("average")]


def test_a_suite_has_a_column_a_dataset_and_a_tested_average(folder: Folder) -> None:
    write(folder, 6)
    [table] = built(folder)
    assert [head.title for head in table.columns] == [*(f"set{i}" for i in range(6)), "average"]
    assert table.caption == "nDCG@10 on ours."
    turned, mixed = average(table, "Turned"), average(table, "Mixed")
    assert turned.value == 1.0
    assert mixed.value == pytest.approx((2 * 1 + 4 * SECOND) / 6)
    # All six differences have one sign: 2 of the 2^6 sign flips are as extreme. Two systems are compared.
    assert turned.p_value == pytest.approx(2 / 2**6)
    assert turned.p_holm == pytest.approx(2 * 2 / 2**6)
    assert mixed.p_value == pytest.approx(2 * 2**4 / 2**6)  # four datasets do not differ
    assert (turned.change, mixed.change) == ("", "")
    assert "6 wins, 0 ties, 0 losses" in turned.hint
    assert any("paired randomisation test over the 6 datasets' means" in note for note in table.legend)


def test_a_difference_on_every_dataset_of_eight_is_significant(folder: Folder) -> None:
    write(folder, 8)
    [table] = built(folder)
    assert average(table, "Turned").p_holm == pytest.approx(2 * 2 / 2**8)
    assert average(table, "Turned").change == "better"


def test_the_parts_of_a_dataset_count_as_one(folder: Folder) -> None:
    write(folder, 4, {1: "forums", 2: "forums", 3: "forums"})
    [table] = built(folder)
    forums = (1 + 2 * SECOND) / 3  # Mixed is right on set0 and set1
    assert average(table, "Mixed").value == pytest.approx((1 + forums) / 2)
    assert any("over 2 datasets, the parts of one dataset counted as one" in note for note in table.legend)
    assert any("with fewer than 6 datasets it cannot be significant" in note for note in table.legend)


def test_two_suites_have_two_tables_and_two_averages(folder: Folder) -> None:
    write(folder, 2, suite="small")
    write(folder, 3, suite="large")
    small, large = built(folder)
    assert (small.about["suite"], large.about["suite"]) == ("small", "large")
    assert small.name != large.name
    assert [len(suite_table.columns) for suite_table in (small, large)] == [3, 4]


def test_each_setting_of_a_suite_has_its_average(folder: Folder) -> None:
    for kind in ("bm25", "given"):
        for place in range(2):
            name = f"ours-set{place}"
            texts = {f"q{place}": [kind, "y"]}
            pool = folder.pool(texts, {f"q{place}": {"d1": 1}}, name, first_stage={"kind": kind})
            order = folder.turned if kind == "bm25" else folder.kept
            member = SuiteMember(name="ours", title=f"set{place}", datasets=2)
            folder.cell(pool, "S", order, suite=member)
    [table] = built(folder)
    by_name = dict(zip([head.name for head in table.columns], table.rows[0].cells, strict=True))
    averages = {name: cell.value for name, cell in by_name.items() if name.startswith("average")}
    assert averages == {"average, BM25": 1.0, "average, given": pytest.approx(SECOND)}
