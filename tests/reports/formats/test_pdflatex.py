"""Every layout goes through pdfLaTeX, which must have nothing to complain about."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.record import Operations
from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats import latex
from reports.formats.measured import how_we_measured
from reports.tables.by_name import tables
from reports.tables.cells import Cell, Head, Row, Table
from reports.tables.registry import LAYOUTS
from rerankers.interface import Usage
from tests.reports.formats.pdflatex import compiled

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reports.conftest import Folder


@pytest.fixture
def everything(folder: Folder) -> Folder:
    """Results for which every layout has a table, marks and signs included."""
    for dataset in ("dl19", "dl20"):
        texts = {f"q{i}": [str(n) for n in range(100)] for i in range(8)}
        pool = folder.pool(texts, {query_id: {"d99": 1} for query_id in texts}, dataset)
        folder.cell(pool, "First stage", folder.kept, reranker="first-stage", seconds=lambda _: 1e-5)
        folder.judge(pool, {query_id: {"d0": 2, "d99": 3} for query_id in texts}, "a_model & another")
        folder.cell(pool, "Oracle", folder.turned, reranker="oracle")
        for window in (2, 4):
            folder.cell(
                pool,
                f"Window {window}",
                folder.turned if window == 2 else lambda _: [98, 99, *range(98)],
                seconds=lambda i, window=window: window + i / 10,  # type: ignore[misc]
                stages={"prefill": 0.5, "decode": 1.2},
                usage=lambda: Usage(llm_calls=9, prompt_tokens=19_506, faults={"missing": 1}),
                reranker="rankgpt",
                options={"window": window, "model": "gpt-4"},
                described={"notice": "temperature 0"},
                operations=Operations(queries=1, flops={"prefill": 10**12}, bytes={"prefill": 10**9}),
            )
        for seed in range(3):
            order = [98 + seed % 2, *range(98), 99 - seed % 2]
            folder.cell(pool, f"S, seed {seed}", lambda _, order=order: order, options={"seed": seed})  # type: ignore[misc]
    return folder


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdfLaTeX is not installed")
@pytest.mark.parametrize(
    "layout",
    [
        *(name for name in LAYOUTS if name != "loads"),
        "nDCG@10,p50,speedup,stage:decode,share:decode,prompt_tokens",
    ],
)
def test_every_layout_compiles_without_a_warning(everything: Folder, layout: str, tmp_path: Path) -> None:
    text = latex.render(tables(build([read_results(everything.path)]), layout))
    assert re.search(r"\\begin\{table\*?\}", text)
    log = compiled(text, tmp_path / "latex")
    assert re.findall(r".*(?:Warning|Overfull|Underfull|Missing).*", log) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdfLaTeX is not installed")
def test_long_names_of_systems_and_datasets_leave_tables_legible(folder: Folder, tmp_path: Path) -> None:
    for dataset in (
        "msmarco-passage/trec-dl-2019/judged",
        "msmarco-passage/trec-dl-2020/judged",
        "beir/fiqa",
    ):
        pool = folder.pool({"a": ["x", "y"], "b": ["x", "y"]}, {"a": {"d1": 1}, "b": {"d1": 1}}, dataset)
        for number in range(7):
            name = f"A method with a long name, model {number}"
            folder.cell(pool, name, folder.turned if number % 2 else folder.kept)
    context = build([read_results(folder.path)])
    for layout in ("significance", "datasets"):
        measured = latex.render(tables(context, layout)).replace(r"\resizebox{", r"\measured{")
        measuring = (
            r"\newcommand\measured[3]{\setbox0\hbox{#3}"
            r"\typeout{WIDTH \the\numexpr\wd0 * 100 / \linewidth\relax}\resizebox{#1}{#2}{#3}}"
        )
        log = compiled(measuring + measured, tmp_path / layout)
        percents = [int(percent) for percent in re.findall(r"WIDTH (\d+)", log)]
        assert percents
        assert max(percents) < 125, layout  # of the line: \small shrinks to \footnotesize at worst


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdfLaTeX is not installed")
@pytest.mark.parametrize("options", ["", "[twocolumn]"])
def test_a_wide_table_goes_on_below_instead_of_getting_small(
    everything: Folder, tmp_path: Path, options: str
) -> None:
    columns = "nDCG@10,RR@10,p50,p95,p99,mean,speedup,llm_calls,prompt_tokens,windows,load,flops,bytes,faulty"
    text = latex.render(tables(build([read_results(everything.path)]), columns))
    assert text.count(r"\begin{table*}") == 2  # of two datasets
    assert text.count(r"\begin{tabular}") == 6
    assert text.startswith(r"% Needs \usepackage{booktabs,graphicx,siunitx}")
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(labels) == 2
    log = compiled(text, tmp_path / "latex", options)
    assert re.findall(r".*(?:Warning|Overfull|Missing).*", log) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdfLaTeX is not installed")
def test_how_it_was_measured_compiles(everything: Folder, tmp_path: Path) -> None:
    text = how_we_measured(build([read_results(everything.path)]), "latex")
    assert "One query was reranked at a time" in text
    assert re.findall(r".*Warning.*", compiled(text, tmp_path / "latex")) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdfLaTeX is not installed")
def test_hostile_texts_compile_too(hostile: Folder, tmp_path: Path) -> None:
    log = compiled(latex.render(tables(build([read_results(hostile.path)]), "headline")), tmp_path / "latex")
    assert re.findall(r".*Warning.*", log) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdfLaTeX is not installed")
def test_every_character_that_is_not_written_by_its_code_point_has_a_glyph(tmp_path: Path) -> None:
    characters = [chr(code) for code in (*range(0x20, 0x250), *range(0x2010, 0x2060))]
    log = compiled(" ".join(map(latex.escape, characters)), tmp_path / "latex")
    assert "Missing character" not in log


def test_columns_that_are_all_too_wide_stand_in_a_table_each() -> None:
    wide = "w" * 200
    heads = tuple(Head(f"h{number}", f"h{number}", "", "") for number in range(3))
    row = Row("label", "reranker", "x", "done", (), (Cell(text=wide),) * 3)
    text = latex.render([Table("t", "caption", {}, heads, (row,))])
    assert text.count(r"\begin{tabular}") == 3
