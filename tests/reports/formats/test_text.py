"""Tables on a terminal: aligned, folded where the terminal is narrow, and the answer that `run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats import text
from reports.formats.answer import answer
from reports.tables.by_name import tables
from rerankers.interface import Usage

if TYPE_CHECKING:
    from tests.reports.conftest import Folder


@pytest.fixture
def compared(folder: Folder) -> Folder:
    """Write a first stage, a better system, a faulty one and a failed one."""
    texts = {f"q{i}": ["x", "y", "z"] for i in range(8)}
    pool = folder.pool(texts, {query_id: {"d2": 1} for query_id in texts})
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "順序 ours", folder.turned, seconds=lambda place: 0.2)
    broken = Usage(llm_calls=1, faults={"malformed": 1})
    folder.cell(pool, "Faulty", folder.kept, reranker="rankgpt", usage=lambda: broken)
    folder.cell(pool, "Broken", folder.kept, status="failed", error="out of memory", only=0)
    return folder


def test_every_row_of_a_table_ends_in_the_same_column(compared: Folder) -> None:
    printed = text.render(tables(build([read_results(compared.path)]), "headline"), 200)
    rows = printed.split("─\n")[1].split("\n\n")[0].splitlines()
    assert [row.split()[0] for row in rows] == ["順序", "Faulty", "First", "Broken"]
    ends = {text.columns_of(row) for row in rows}
    assert len(ends) == 1
    assert "Broken (failed)" in printed
    assert "1.0000" in rows[0]
    assert "▲" in rows[0]


@pytest.mark.parametrize("width", [40, 60])
def test_no_line_of_a_table_is_wider_than_the_terminal(compared: Folder, width: int) -> None:
    wide = text.render(tables(build([read_results(compared.path)]), "headline"), 300)
    narrow = text.render(tables(build([read_results(compared.path)]), "headline"), width)
    assert max(map(text.columns_of, narrow.splitlines())) <= max(
        width, 46
    )  # a name and one column always stand together
    for title in ("nDCG@10", "p50", "p95", "speed-up"):
        assert title in wide
        assert title in narrow
    assert narrow.count("System") > wide.count("System")


def test_a_finished_run_is_summed_up_in_a_sentence_and_a_table(compared: Folder) -> None:
    lines = list(answer(compared.path))
    text = " ".join(lines)
    assert "順序 ours ranks best, with nDCG@10 1.000" in text
    header = next(line for line in lines if line.startswith("System"))
    assert header.split() == ["System", "nDCG@10", "p50", "p95", "speed-up", "faulty"]
    (faulty,) = [line for line in lines if line.startswith("Faulty ") and line.rstrip().endswith("%")]
    assert "100\u202f%" in faulty


def test_a_busy_machine_is_named_where_it_matters(folder: Folder) -> None:
    texts = {f"q{i}": ["x", "y"] for i in range(30)}
    pool = folder.pool(texts, {query_id: {"d1": 1} for query_id in texts})
    folder.cell(pool, "quiet", folder.kept, control=lambda place: 0.001)
    assert "busy" not in " ".join(answer(folder.path))
    folder.cell(pool, "loud", folder.turned, control=lambda place: 0.001 * (1 + place % 4))
    assert "busy while loud" in " ".join(answer(folder.path))


def test_a_table_is_markdown_in_a_pipe_and_text_where_it_is_asked_for(
    compared: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", str(compared.path)]) == 0
    assert "| System | nDCG@10 |" in capsys.readouterr().out
    assert main(["table", str(compared.path), "--format", "text"]) == 0
    printed = capsys.readouterr().out
    assert "|" not in printed
    assert "─────" in printed
