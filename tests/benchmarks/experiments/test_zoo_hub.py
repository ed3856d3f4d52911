"""The ready experiment `zoo-hub` pins its models, and has the published rows that the report sets beside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.experiments.config import find_experiment
from reports.analysis.published_figures import figures

if TYPE_CHECKING:
    from pathlib import Path

UNPINNED = {"Rank1": "rank1-7b", "RankZephyr": "rank_zephyr_7b_v1_full", "FirstMistral": "first_mistral"}
UNPINNED |= {"PE-Rank": "pe-rank-mistral-jina", "E2Rank": "E2Rank-0.6B", "LiT5": "LiT5-Distill-large"}
UNPINNED |= {"ListT5": "ListT5-base"}
WITH_ROWS = {
    "ms-marco-MiniLM-L-6-v2", "bge-reranker-base", "bge-reranker-large", "colbertv2.0",
    "rank_zephyr_7b_v1_full", "first_mistral", "pe-rank-mistral-jina", "E2Rank-0.6B",
    "LiT5-Distill-large",
}  # fmt: skip


@pytest.fixture(scope="module")
def path() -> Path:
    return find_experiment("zoo-hub")


@pytest.fixture(scope="module")
def systems(path: Path) -> list[dict[str, Any]]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["depths"] == [20, 100]
    assert len(content["datasets"]) == 2
    return [system for system in content["rerankers"] if isinstance(system, dict)]


def model_of(system: dict[str, Any]) -> str:
    return str(system["options"]["model"]).rpartition("/")[2]


def test_every_model_is_pinned_or_the_file_says_that_it_is_not(
    path: Path, systems: list[dict[str, Any]]
) -> None:
    revisions = {model_of(system): system["options"].get("revision") for system in systems}
    pinned = {model: revision for model, revision in revisions.items() if revision is not None}
    assert len(pinned) == 15
    assert all(re.fullmatch(r"[0-9a-f]{40}", revision) for revision in pinned.values())
    assert set(revisions) - set(pinned) == set(UNPINNED.values())
    stated = path.read_text(encoding="utf-8").partition("No commit could be established")[2]
    assert all(name in stated for name in UNPINNED)


def test_published_rows_of_its_models_are_known(systems: list[dict[str, Any]]) -> None:
    published = {
        (figure.method, name.lower())
        for figure in figures()
        if figure.depth == 100 and figure.first_stage == "BM25" and figure.dataset == "dl19"
        for name in (figure.model, *figure.names)
    }
    models = {
        model_of(system) for system in systems if (system["name"], model_of(system).lower()) in published
    }
    assert models == WITH_ROWS
