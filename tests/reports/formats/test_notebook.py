from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reports.formats import csv
from reports.formats.notebook import open_results
from reports.tables.by_name import tables

if TYPE_CHECKING:
    from tests.reports.conftest import Folder

TEXTS = {"a": ["x", "y"], "b": ["x", "y"]}
QRELS = {"a": {"d1": 1}, "b": {"d1": 1}}


def test_results_and_tables_show_themselves_with_every_text_escaped(hostile: Folder) -> None:
    results = open_results(hostile.path)
    for html in (results._repr_html_(), tables(results, "stages")[0]._repr_html_()):
        assert html.count("<table>") == 1
        assert "<script" not in html
        assert "&lt;/td&gt;" in html


def test_folders_opened_together_are_compared(folder: Folder) -> None:
    later = type(folder)(folder.path.with_name("later"))
    for result_folder in (folder, later):
        result_folder.cell(result_folder.pool(TEXTS, QRELS), "S", result_folder.kept)
    html = open_results(folder.path, later.path)._repr_html_()
    assert "S (results)" in html
    assert "S (later)" in html


def test_a_table_is_a_data_frame_in_full_precision(folder: Folder) -> None:
    pytest.importorskip("pandas")
    folder.cell(folder.pool(TEXTS, QRELS), "S", folder.turned, seconds=lambda _: 0.25)
    frame = tables(open_results(folder.path), "headline")[0].to_frame()
    assert frame.loc[0, "system"] == "S"
    assert frame.loc[0, "nDCG@10"] == 1.0
    assert frame.loc[0, "p50_ms"] == pytest.approx(250)


def test_a_data_frame_has_plain_texts_where_csv_has_defused_ones(hostile: Folder) -> None:
    pytest.importorskip("pandas")
    frame = tables(open_results(hostile.path), "headline")[0].to_frame()
    assert "=HYPERLINK(1)" in set(frame["system"])
    assert "'=HYPERLINK(1)" in csv.render(tables(open_results(hostile.path), "headline"))
