from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.results.store import read_results
from reports.analysis import published_figures
from reports.analysis.context import build
from reports.charts.depth import depth_trade_off
from reports.charts.theme import PAGE
from reports.tables.by_name import tables
from rerankers.interface import Usage
from rerankers.registry import options_model

if TYPE_CHECKING:
    from reports.analysis.values import Context
    from rerankers.interface import RerankRequest
    from tests.reports.conftest import Folder

TEXTS = {f"q{i}": [f"{n}" for n in range(100)] for i in range(4)}
QRELS = {query_id: {"d50": 1} for query_id in TEXTS}


@pytest.fixture
def on_dl19(folder: Folder) -> Context:
    """Return a system whose score, 1.0, is published as 0.7311."""
    pool = folder.pool(TEXTS, QRELS, "msmarco-passage/trec-dl-2019/judged")
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(
        pool,
        "Large",
        lambda _: [50, *range(50), *range(51, 100)],
        reranker="cross-encoder",
        options={"model": "BAAI/bge-reranker-large"},
    )
    return build([read_results(folder.path)])


def test_every_published_figure_names_its_source_and_a_tolerance() -> None:
    assert len(published_figures.figures()) > 50
    for figure in published_figures.figures():
        assert figure.source
        assert 0 < figure.tolerance < 0.05
        assert 0 < figure.value < 1


def test_a_reproduction_is_compared_and_judged_by_its_tolerance(on_dl19: Context) -> None:
    (table,) = tables(on_dl19, "reproduction")
    row = next(row for row in table.rows if row.label == "bge-reranker-large")
    cells = dict(zip([head.name for head in table.columns], row.cells, strict=True))
    assert (cells["published"].value, cells["ours"].value) == (0.7311, 1.0)
    assert cells["difference"].value == pytest.approx(1.0 - 0.7311)
    assert cells["inside"].text == "no"


RANK_LLM: dict[str, Any] = {"model": "Qwen/Qwen2.5-7B-Instruct", "prompt": "rank-zephyr"}


@pytest.mark.parametrize(
    ("options", "prompt_tokens", "says"),
    [
        (RANK_LLM, 9 * 4096, "no"),
        (RANK_LLM | {"window": 20, "step": 10}, 9 * 1800, "no"),
        (RANK_LLM | {"prompt": "rankgpt"}, 9, "different setting: prompt rankgpt, not rank-zephyr"),
        ({"model": RANK_LLM["model"]}, 9, "different setting: prompt rankgpt, not rank-zephyr"),
        (RANK_LLM | {"window": 30, "step": 5}, 9, "different setting: window 30, not 20; step 5, not 10"),
        (RANK_LLM, 9 * 5000, "different setting: prompts of 5,000 tokens, not at most 4,096"),
        (RANK_LLM, 0, "different setting: length of the prompts not recorded"),
    ],
)
def test_only_a_system_in_the_setting_of_a_figure_is_judged_by_it(
    options: dict[str, Any], prompt_tokens: int, says: str, folder: Folder
) -> None:
    grades = {query_id: {"d0": 1, "d1": 0} for query_id in TEXTS}
    pool = folder.pool(TEXTS, grades, "dl19")
    usage = Usage(llm_calls=9, prompt_tokens=prompt_tokens)
    folder.cell(pool, "Qwen", _published, reranker="rankgpt", options=options, usage=lambda: usage)
    (table,) = tables(build([read_results(folder.path)]), "reproduction")
    (row,) = [row for row in table.rows if row.label == "Qwen2.5-7B-Instruct"]
    cells = dict(zip([head.name for head in table.columns], row.cells, strict=True))
    assert cells["inside"].text == says  # judged, and 0.0678 away
    assert (cells["published"].value, cells["ours"].value) == (0.6987, 1 / math.log2(3))
    judged = 1 / math.log2(3) - 0.6987 if says == "no" else None
    assert cells["difference"].value == (judged if judged is None else pytest.approx(judged))


def _published(_: RerankRequest) -> list[int]:
    """Return grades with the only relevant passage in second place: nDCG@10 is 1 / log2(3), 0.6309."""
    return [1, 0, *range(2, 100)]


def test_an_imported_run_is_not_judged_by_a_figure_whose_setting_it_does_not_tell(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS, "dl19")
    folder.imported(pool, "rank_zephyr_7b_v1_full", folder.kept)
    (table,) = tables(build([read_results(folder.path)]), "reproduction")
    texts = [row.cells[-1].text for row in table.rows if row.label == "RankZephyr-7B"]
    assert texts == ["different setting: an imported run does not tell its own"]


def test_the_settings_of_figures_are_options_and_defaults_those_of_the_models() -> None:
    for method, values in published_figures.defaults().items():
        fields = options_model(method).model_fields
        assert values == {name: fields[name].default for name in values}
    for figure in published_figures.figures():
        assert figure.needs.keys() - {"context"} <= published_figures.defaults().get(figure.method, {}).keys()


@pytest.mark.parametrize(
    ("model", "dl19", "dl20"),
    [
        ("Llama-3.1-8B-Instruct", 0.6779, 0.6326),
        ("gemini-2.0-flash", 0.7362, 0.6930),
        ("duoT5-3B", 0.7302, 0.6913),
        ("gpt-4o-mini, LRL", 0.7296, 0.6807),
    ],
)
def test_figures_of_rank_llms_reproduction_page(model: str, dl19: float, dl20: float) -> None:
    figures_by_dataset = {f.dataset: f.value for f in published_figures.figures() if f.model == model}
    assert figures_by_dataset == {"dl19": dl19, "dl20": dl20}


def test_published_figures_stand_in_a_table_of_their_own_and_are_never_marked(on_dl19: Context) -> None:
    (table,) = tables(on_dl19, "published")
    assert len(table.rows) > 20
    assert not [cell for row in table.rows for cell in row.cells if cell.mark]
    assert "RankZephyr-7B" not in [row.label for row in tables(on_dl19, "headline")[0].rows]


def test_another_depth_or_dataset_reproduces_nothing(folder: Folder) -> None:
    texts = {query_id: passages[:20] for query_id, passages in TEXTS.items()}
    for dataset in ("dl19", "elsewhere"):
        pool = folder.pool(texts, QRELS, dataset)
        folder.cell(pool, "L", folder.kept, reranker="cross-encoder", options={"model": "bge-reranker-large"})
    assert tables(build([read_results(folder.path)]), "reproduction") == []


def test_runs_without_latencies_are_drawn_against_depth_with_a_pareto_front(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.imported(pool, "Theirs", lambda _: [50, *range(50), *range(51, 100)])
    (group,) = build([read_results(folder.path)]).groups
    system = group.system("Theirs")
    assert system.quality.by_depth == {10: 0.0, 20: 0.0, 30: 0.0, 50: 0.0, 75: 1.0, 100: 1.0}
    drawn = depth_trade_off(group, PAGE)
    assert drawn is not None
    front = [row["x"] for row in drawn["data"]["values"] if row["front"]]
    assert front == [10, 75]  # the cheapest of all, and the cheapest of the best
