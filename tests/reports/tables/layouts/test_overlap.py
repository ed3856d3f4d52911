"""A report without judgements still says how far systems agree, and where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats.html import render
from reports.tables.by_name import tables

if TYPE_CHECKING:
    from tests.reports.conftest import Folder


def test_pairs_and_queries_without_judgements_show_their_agreement(folder: Folder) -> None:
    pool = folder.pool({"q0": ["x", "y", "z"], "q1": ["u", "v", "w"]}, {})
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "Same", folder.kept)
    folder.cell(pool, "Apart", lambda request: [2, 1, 0] if request.query_id == "q1" else [0, 1, 2])
    folder.cell(pool, "Oracle", folder.turned, reranker="oracle")
    pairs, queries = tables(build([read_results(folder.path)]), "overlap")
    by_pair = {row.label: [cell.value for cell in row.cells] for row in pairs.rows}
    assert len(by_pair) == 3  # controls are no systems to agree with
    [same] = [values for label, values in by_pair.items() if "Apart" not in label]
    assert same == pytest.approx([1, 1, 1])
    [apart] = [values for label, values in by_pair.items() if {*label.split(" / ")} == {"Same", "Apart"}]
    assert apart[0] == 1.0  # ten ranks hold all three passages
    assert apart[2] == pytest.approx((1 - 1) / 2)  # tau is 1 on q0 and -1 on q1
    assert [row.label.partition(":")[0] for row in queries.rows] == ["q1", "q0"]
    assert queries.rows[0].cells[2].value == pytest.approx((1 - 1 - 1) / 3)


def test_the_page_shows_the_agreement_with_judgements_too(folder: Folder) -> None:
    pool = folder.pool({"q0": ["x", "y", "z"]}, {"q0": {"d0": 1}})
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "Turned", folder.turned)
    page = render(build([read_results(folder.path)]))
    section = page.partition('id="g1-overlap"')[2].partition("</section>")[0]
    for word in ("overlap@10", "RBO", "Kendall", "q0: ", "1.000", "-1.000"):
        assert word in section.replace("\u2212", "-"), word
