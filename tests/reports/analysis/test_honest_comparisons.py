"""What a comparison must not hide: stored embeddings, controls, other people's runs, changed code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.evaluation.statistics import paired_t_test
from benchmarks.results.store import read_results
from reports.analysis.comparisons.ablation import DEPTH, factors
from reports.analysis.context import build
from reports.formats.html import render
from reports.tables.by_name import tables
from tests.reports.conftest import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from reports.analysis.values import Context

TEXTS = {f"q{i}": ["x", "y", "z"] for i in range(8)}
QRELS = {query_id: {"d2": 1} for query_id in TEXTS}


def printed_warnings(*folders: Folder) -> Context:
    return build([read_results(folder.path) for folder in folders])


def sentences(context: Context) -> str:
    return " ".join("".join(sentence) for group in context.groups for sentence in group.findings)


@pytest.mark.parametrize("fast_is_stored", [True, False])
def test_the_headline_says_that_a_faster_system_has_its_embeddings_already(
    folder: Folder, fast_is_stored: bool
) -> None:
    pool = folder.pool(TEXTS, QRELS)
    stored, computed = {"embeddings": "precomputed"}, {"embeddings": "per_query"}
    folder.cell(pool, "slow", folder.turned, seconds=lambda place: 1.0, described=computed)
    fast = {"components": [stored]} if fast_is_stored else computed  # of a fusion, say
    folder.cell(pool, "fast", folder.turned, seconds=lambda place: 0.1, described=fast)
    context = printed_warnings(folder)
    assert ("computed beforehand" in sentences(context)) is fast_is_stored
    (table,) = tables(context, "headline")
    assert any("beforehand, in no latency: fast" in note for note in table.legend) is fast_is_stored


def test_controls_are_neither_tested_nor_counted_in_holm_s_correction(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    second = [1, 2, 0]
    folder.cell(pool, "ours", lambda request: second if request.query_id < "q6" else [0, 1, 2])
    for control in ("oracle", "random", "reverse"):
        folder.cell(pool, control, folder.turned, reranker=control)
    (group,) = printed_warnings(folder).groups
    comparison = group.system("ours").quality.against["nDCG@10"]
    ours, first = (
        [*group.system(label).quality.per_query["nDCG@10"].values()] for label in ("ours", "First stage")
    )
    assert comparison.p_holm == comparison.p_value == paired_t_test(ours, first)
    assert not group.system("oracle").quality.against


def test_imported_runs_of_two_methods_are_not_one_method_at_two_depths(folder: Folder) -> None:
    for depth, label in ((2, "theirs"), (3, "others"), (3, "theirs")):
        texts = {query_id: passages[:depth] for query_id, passages in TEXTS.items()}
        folder.imported(folder.pool(texts, QRELS, dataset="one"), label, folder.turned)
    (factor,) = factors(printed_warnings(folder))
    assert factor.name == DEPTH
    (series,) = factor.series
    assert [point.system.name for point in series.points] == ["theirs", "theirs"]
    assert series.label == "theirs"


def test_code_of_one_s_own_is_named_and_a_change_is_flagged(tmp_path: Path) -> None:
    folders = [Folder(tmp_path / name) for name in ("before", "after")]
    for folder, code in zip(folders, ("sha256:0011", "sha256:2233"), strict=True):
        folder.cell(
            folder.pool(TEXTS, QRELS), "mine", folder.turned, reranker="m:Mine", described={"code": code}
        )
    assert "code sha256:0011" in render(printed_warnings(folders[0]))
    assert "its code changed from sha256:0011 to sha256:2233" in sentences(printed_warnings(*folders))


def test_a_section_without_content_is_left_out(folder: Folder) -> None:
    folder.cell(folder.pool(TEXTS, QRELS), "no output", folder.turned)
    assert "Output faults" not in render(printed_warnings(folder))
