"""Cells that differ in their seed alone are one system, with a mean and how far its seeds lie apart."""

from __future__ import annotations

import math
from statistics import stdev
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.analysis.systems import name_of
from reports.formats import csv, latex, markdown
from reports.formats.html import render
from reports.tables.by_name import tables

if TYPE_CHECKING:
    from reports.analysis.values import Context
    from tests.reports.conftest import Folder

TEXTS = {"a": ["x", "y", "z"], "b": ["x", "y", "z"]}
QRELS = {"a": {"d0": 1}, "b": {"d0": 1}}
SECOND, THIRD = 1 / math.log2(2 + 1), 1 / math.log2(3 + 1)  # nDCG of the only relevant passage's rank
ORDERS = ([0, 1, 2], [1, 0, 2], [2, 1, 0])


@pytest.fixture
def seeded(folder: Folder) -> Context:
    """One system with three seeds, which put the relevant passage first, second and third."""
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    for seed, order in enumerate(ORDERS):
        folder.cell(
            pool,
            f"Sampled (model=m, seed={seed})",
            lambda _, order=order: order,  # type: ignore[misc]
            seconds=lambda _, seed=seed: 0.1 * (1 + seed),  # type: ignore[misc]
            options={"model": "m", "seed": seed},
        )
    return build([read_results(folder.path)])


def test_seeds_make_one_system_with_their_mean_and_spread(seeded: Context) -> None:
    (group,) = seeded.groups
    assert {system.label for system in group.systems} == {"First stage", "Sampled (model=m)"}
    system = group.system("Sampled (model=m)")
    assert system.replicates == 3
    assert system.provenance.options == {"model": "m"}
    assert system.quality.estimates["nDCG@10"].value == pytest.approx((1 + SECOND + THIRD) / 3)
    assert system.quality.spread["nDCG@10"] == pytest.approx(stdev([1, SECOND, THIRD]))
    assert system.quality.per_query["nDCG@10"]["a"] == pytest.approx((1 + SECOND + THIRD) / 3)
    assert system.timing.latency is not None
    assert system.timing.latency.calls == 3 * 2
    assert system.timing.latency.p50.value == pytest.approx(0.2)
    assert system.measured_queries == 3 * 2


def test_the_headline_table_shows_the_spread_and_the_number_of_seeds_in_every_format(seeded: Context) -> None:
    spread = f"{stdev([1, SECOND, THIRD]):.4f}"
    assert f"0.7103 ± {spread}" in markdown.render(tables(seeded, "headline"))
    assert "(model=m) (3 seeds)" in markdown.render(tables(seeded, "headline"))
    assert rf"0.7103$\,\pm\,${spread}" in latex.render(tables(seeded, "headline"))
    assert "(3 seeds)" in latex.render(tables(seeded, "headline"))
    heads = csv.render(tables(seeded, "headline")).splitlines()[0].split(",")
    assert {"replicates", "nDCG@10_spread"} <= {*heads}
    assert f"± {spread}" in tables(seeded, "headline")[0]._repr_html_()
    page = render(seeded)
    assert '<span class="tag">3 seeds</span>' in page
    assert f"± {spread}" in page


def test_seeds_are_no_factor_of_an_ablation(seeded: Context) -> None:
    assert tables(seeded, "ablation") == []


def test_seeds_of_the_whole_experiment_are_replicates_too(folder: Folder) -> None:
    later = type(folder)(folder.path.with_name("later"))
    for seed, result_folder in enumerate((folder, later)):
        result_folder.cell(result_folder.pool(TEXTS, QRELS), "S", result_folder.kept, seed=seed)
    (group,) = build([read_results(folder.path), read_results(later.path)]).groups
    assert [(system.label, system.replicates) for system in group.systems] == [("S", 2)]


def test_the_same_seed_measured_twice_is_two_systems(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for _ in range(2):
        folder.cell(pool, "S", folder.kept, options={"seed": 1})
    (group,) = build([read_results(folder.path)]).groups
    assert {system.label for system in group.systems} == {"S (cell-00)", "S (cell-01)"}


def test_a_seed_that_failed_stands_alone(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for seed in range(2):
        folder.cell(pool, f"S, seed {seed}", folder.kept, options={"seed": seed})
    folder.cell(pool, "S, seed 2", folder.kept, options={"seed": 2}, status="failed", error="no", only=0)
    (group,) = build([read_results(folder.path)]).groups
    assert [(system.label, system.replicates) for system in group.systems] == [("S", 2), ("S, seed 2", 1)]


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["S, seed 1", "S, seed 10"], "S"),
        (["S (a=1, seed=0)", "S (a=1, seed=7)"], "S (a=1)"),
        (["S (seed=0, a=1)", "S (seed=7, a=1)"], "S (a=1)"),
        (["S (seed=0)", "S (seed=7)"], "S"),
        (["seed 1", "seed 2"], "embedding"),
        (["alike", "alike"], "alike"),
    ],
)
def test_replicates_are_called_what_their_names_share(folder: Folder, labels: list[str], name: str) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for seed, label in enumerate(labels):
        folder.cell(pool, label, folder.kept, options={"seed": seed})
    results = read_results(folder.path)
    assert name_of([(results, cell) for cell in results.cells]) == name
