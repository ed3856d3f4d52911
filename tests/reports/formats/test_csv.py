"""No label becomes a formula in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats.csv import render
from reports.tables.by_name import tables

if TYPE_CHECKING:
    from tests.reports.conftest import Folder


@pytest.mark.parametrize(
    "label",
    [
        "=1+1",
        " =1+1",
        "\u00a0\u3000=1+1",
        "\u200b=1+1",
        "\ufeff@SUM(A1)",
        "+1",
        " -1",
        "\uff1d1+1",  # full-width equals sign
        "\uff0b1",
        "\uff0d1",
        "\uff20SUM(A1)",
    ],
)
def test_a_label_that_a_spreadsheet_would_run_is_defused(label: str, folder: Folder) -> None:
    pool = folder.pool({"a": ["x", "y"]}, {"a": {"d0": 1}})
    folder.cell(pool, label, folder.kept)
    (row,) = csv.DictReader(io.StringIO(render(tables(build([read_results(folder.path)]), "headline"))))
    assert row["system"].startswith("'")
    assert float(row["nDCG@10"]) == 1.0


def test_control_characters_of_a_label_are_written_out(folder: Folder) -> None:
    pool = folder.pool({"a": ["x", "y"]}, {"a": {"d0": 1}})
    folder.cell(pool, "\t=1+1", folder.kept)
    (row,) = csv.DictReader(io.StringIO(render(tables(build([read_results(folder.path)]), "headline"))))
    assert row["system"] == "\\x09=1+1"


def test_a_harmless_label_stays_as_it_is(folder: Folder) -> None:
    pool = folder.pool({"a": ["x", "y"]}, {"a": {"d0": 1}})
    folder.cell(pool, "a=1, b -2", folder.kept)
    (row,) = csv.DictReader(io.StringIO(render(tables(build([read_results(folder.path)]), "headline"))))
    assert row["system"] == "a=1, b -2"
