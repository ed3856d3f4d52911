"""Rows and columns of a table as a paper wants them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.main import main
from benchmarks.evaluation.statistics import paired_t_test
from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.tables.by_name import table, tables
from reports.tables.second_baseline import against_second
from reports.tables.shaping import Shape, shaped
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from tests.reports.conftest import Folder


@pytest.fixture
def compared(folder: Folder) -> Folder:
    """Write a first stage, a control and three systems, of which two differ on half of the queries."""
    texts = {f"q{i}": ["x", "y", "z"] for i in range(10)}
    pool = folder.pool(texts, {query_id: {"d2": 1} for query_id in texts})
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "Good", folder.turned, seconds=lambda place: 1.234)
    folder.cell(pool, "Good too", lambda r: [2, 1, 0] if r.query_id > "q4" else [1, 2, 0])
    folder.cell(pool, "a=b", folder.kept)
    folder.cell(pool, "oracle", folder.turned, reranker="oracle")
    return folder


def test_systems_and_columns_are_chosen_ordered_renamed_and_hidden(compared: Folder) -> None:
    (whole,) = tables(build([read_results(compared.path)]), "headline")
    shape = Shape(("a=b=Ours", "Good", "oracle"), ("p50=latency", "nDCG@10"), ("controls",), "s")
    (shaped_table,) = shaped([whole], shape)
    assert [row.label for row in shaped_table.rows] == ["Ours", "Good"]
    assert [(head.title, head.unit) for head in shaped_table.columns] == [("latency", "s"), ("nDCG@10", "")]
    latency = shaped_table.rows[1].cells[0]
    assert latency.value == pytest.approx(1.234)
    assert latency.text == "1.23"
    assert latency.interval == "1.23–1.23"
    assert not any("Controls" in note for note in shaped_table.legend)
    (hidden,) = shaped([whole], Shape(hidden=("RR@10", "First stage")))
    assert "RR@10" not in [head.name for head in hidden.columns]
    assert [row.label for row in hidden.rows] == [
        row.label for row in whole.rows if row.label != "First stage"
    ]


def test_a_new_name_stands_wherever_the_old_one_did_and_names_can_be_exchanged(compared: Folder) -> None:
    context = build([read_results(compared.path)], baseline="Good")
    (whole,) = tables(context, "interpretation")
    (one,) = shaped([whole], Shape(("Good=Good too", "Good too=Good", "First stage")))
    assert {head.section for head in one.columns} >= {"Queries against Good too"}
    warned = replace(whole, warnings=("Good and Good too, not Goodness.",))
    (one,) = shaped([warned], Shape(("Good=Good too", "Good too=Good")))
    assert one.warnings == ("Good too and Good, not Goodness.",)


@pytest.mark.parametrize(
    "shape", [Shape(systems=("Goo",)), Shape(columns=("p5=x",)), Shape(hidden=("orakle",))]
)
def test_a_row_or_column_that_is_nowhere_is_refused_with_near_misses(compared: Folder, shape: Shape) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        shaped(tables(build([read_results(compared.path)]), "headline"), shape)


def test_a_second_baseline_has_marks_and_p_values_of_its_own(compared: Folder) -> None:
    context = build([read_results(compared.path)])
    (tested,) = against_second(tables(context, "headline"), context, "Good")
    rows = {row.label: row.cells[0] for row in tested.rows}
    values = {s.label: [*s.quality.per_query["nDCG@10"].values()] for s in context.groups[0].systems}
    p = paired_t_test(values["Good too"], values["Good"])
    assert rows["Good too"].second_p_holm == pytest.approx(min(1.0, p))
    assert rows["First stage"].changes == "‡"
    assert rows["Good"].changes == " ▲"
    assert rows["oracle"].second_p_holm is None
    assert any(note.startswith("† ‡ significantly above or below Good") for note in tested.legend)
    written = table([compared.path], "latex", baselines=["First stage", "Good"])
    assert r"$^{\ddagger}$" in written
    assert "_p_holm_second" in table([compared.path], "csv", baselines=["First stage", "Good"])


def test_the_command_line_shapes_a_table(compared: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["table", str(compared.path), "--systems", "Good=Ours", "--columns", "p50", "--unit", "s"]
    assert main(words) == 0
    assert "| System | p50 (s) |" in capsys.readouterr().out
    assert main(["table", str(compared.path), "--baseline", "Good", "a=b", "oracle"]) == 2
    assert "room for two" in capsys.readouterr().err
    assert main(["table", str(compared.path), "--layout", "how-we-measured"]) == 0
    assert "once, after warming up by 2 queries" in capsys.readouterr().out
