from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.formats import latex, markdown
from reports.tables.by_name import FORMATS, table, tables
from reports.tables.registry import LAYOUTS
from rerankers.errors import InputError, UnknownNameError
from rerankers.interface import Usage

if TYPE_CHECKING:
    from reports.tables.cells import Cell, Table
    from tests.reports.conftest import Folder

TEXTS = {f"q{i}": ["x", "y", "z"] for i in range(8)}
QRELS = {query_id: {"d2": 1} for query_id in TEXTS}


NEEDS_MORE = {
    "loads",
    "operations",
    "judgements",
    "agreement",
    "ablation",
    "factors",
    "published",
    "reproduction",
}  # than one dataset of our own


@pytest.fixture
def results(folder: Folder) -> Folder:
    """Return results in which Turned is perfect, Middle second, the first stage last;
    Oracle is a control; Broken failed.
    """
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage", seconds=lambda _: 1e-5)
    folder.cell(
        pool,
        "Turned",
        folder.turned,
        seconds=lambda _: 0.6,
        stages={"forward": 0.5},
        described={"notice": "untrained"},
    )
    folder.cell(pool, "Middle", lambda _: [1, 2, 0], seconds=lambda _: 0.2, usage=lambda: Usage(llm_calls=9))
    folder.cell(pool, "Oracle", folder.turned, reranker="oracle", seconds=lambda _: 1e-5)
    folder.cell(pool, "Broken", folder.kept, status="failed", error="out of memory", only=0)
    return folder


def only_table(folder: Folder, layout: str = "headline") -> Table:
    (result_table,) = tables(build([read_results(folder.path)]), layout)
    return result_table


def cell(only: Table, label: str, column: str) -> Cell:
    row = next(row for row in only.rows if row.label == label)
    return row.cells[[head.name for head in only.columns].index(column)]


def test_best_and_second_are_marked_and_controls_never(results: Folder) -> None:
    result_table = only_table(results)
    assert cell(result_table, "Turned", "nDCG@10").mark == "best"
    assert cell(result_table, "Middle", "nDCG@10").mark == "second"
    assert cell(result_table, "Oracle", "nDCG@10").mark == ""
    assert cell(result_table, "Middle", "p50").mark == "best"
    assert cell(result_table, "First stage", "p50").mark == ""


def test_significant_changes_are_marked_against_the_baseline(results: Folder) -> None:
    result_table = only_table(results)
    assert cell(result_table, "Turned", "nDCG@10").change == "better"
    assert cell(result_table, "First stage", "nDCG@10").change == ""
    assert (
        "p\u00a0<\u00a00.001 (Holm); 8 wins, 0 ties, 0 losses" in cell(result_table, "Turned", "nDCG@10").hint
    )


def test_latencies_are_printed_in_milliseconds_and_speed_ups_as_factors(results: Folder) -> None:
    result_table = only_table(results)
    assert cell(result_table, "Turned", "p50").text == "600"
    assert cell(result_table, "Middle", "speedup").text == "3.0"


def test_what_was_served_has_a_rate_and_a_wait(folder: Folder) -> None:
    folder.cell(folder.pool(TEXTS, QRELS), "S", folder.kept, seconds=lambda position: 1.0 + position)
    path = folder.path / folder.cells[-1] / "queries.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for place, row in enumerate(rows):  # they arrive together and are taken one second apart
        row |= {"arrived_seconds": 2.0, "queued_seconds": place * 0.5}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder.change_record(path.parent)
    assert cell(only_table(folder), "S", "requests_per_second").value == pytest.approx(8 / 8.0)
    assert cell(only_table(folder, "costs"), "S", "queued").value == pytest.approx(1000 * 0.5 * 3.5)


def test_columns_without_any_value_are_left_out_of_named_layouts(results: Folder) -> None:
    costs = [column.name for column in only_table(results, "costs").columns]
    assert "windows" not in costs
    assert "llm_calls" in costs


def test_the_stages_layout_ends_with_what_is_untracked_and_the_mean(results: Folder) -> None:
    result_table = only_table(results, "stages")
    assert [column.name for column in result_table.columns] == [
        "stage:forward",
        "stage:untracked",
        "mean",
        "p50",
    ]
    assert cell(result_table, "Turned", "stage:untracked").value == pytest.approx(600 - 500)


def test_the_parts_of_a_fusion_have_rows_of_their_own_below_it_and_never_compete(folder: Folder) -> None:
    def usage() -> Usage:
        cost = {"stage_seconds": {"forward": 0.02}, "usage": {}}
        return Usage(parts=[{"reranker": name, **cost} for name in ("embedding", "bm25", "embedding")])  # type: ignore[typeddict-item]

    folder.cell(folder.pool(TEXTS, QRELS), "Fused", folder.kept, stages={"forward": 0.06}, usage=usage)
    result_table = only_table(folder, "stages")
    assert [row.label for row in result_table.rows] == [
        "Fused",
        "Fused: embedding 1",
        "Fused: bm25",
        "Fused: embedding 3",
    ]
    assert cell(result_table, "Fused", "stage:forward").value == pytest.approx(60)
    assert cell(result_table, "Fused: bm25", "stage:forward").value == pytest.approx(20)
    assert cell(result_table, "Fused: bm25", "p50").value is None
    assert [row.label for row in only_table(folder).rows] == ["Fused"]


def test_a_list_of_columns_is_a_layout(results: Folder) -> None:
    result_table = only_table(results, "p50, nDCG@10, share:forward")
    assert [column.name for column in result_table.columns] == ["p50", "nDCG@10", "share:forward"]


def test_any_measure_can_be_a_column_without_a_new_run(results: Folder) -> None:
    rows = list(csv.DictReader(io.StringIO(table([results.path], "csv", "P@2,nDCG@10"))))
    assert [float(row["P@2"]) for row in rows if row["system"] == "Middle"] == [0.5]


def test_columns_may_be_named_as_trec_eval_names_them(results: Folder) -> None:
    written = table([results.path], "csv", "p50,P_2,ndcg_cut_10,recip_rank")
    assert written == table([results.path], "csv", "p50, P@2, nDCG@10, RR")


def test_datasets_stand_side_by_side_with_an_average_for_systems_that_have_all(folder: Folder) -> None:
    for dataset, grades in (("easy", {"d0": 1}), ("hard", {"d1": 1})):
        pool = folder.pool({"q": ["x", "y"]}, {"q": grades}, dataset)
        folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
        if dataset == "easy":
            folder.cell(pool, "Partial", folder.turned)
    result_table = only_table(folder, "datasets")
    assert [head.title for head in result_table.columns] == ["easy", "hard", "average"]
    assert [row.label for row in result_table.rows] == ["First stage", "Partial"]
    assert cell(result_table, "First stage", "average").value == pytest.approx((1 + 1 / math.log2(2 + 1)) / 2)
    assert cell(result_table, "Partial", "hard").value is None
    assert cell(result_table, "Partial", "average").value is None


def test_columns_of_one_dataset_say_what_they_differ_in_and_have_no_average(folder: Folder) -> None:
    for depth in (2, 3):
        folder.cell(folder.pool({"q": ["x", "y", "z"][:depth]}, {"q": {"d1": 1}}), "S", folder.turned)
    result_table = only_table(folder, "datasets")
    assert result_table.caption == "nDCG@10 on tiny by depth."
    assert [head.title for head in result_table.columns] == ["top 2", "top 3"]


def test_every_pair_is_compared_and_corrected_over_all_pairs(results: Folder) -> None:
    result_table = only_table(results, "significance")
    assert [row.label for row in result_table.rows] == ["Turned", "Middle", "First stage"]
    ahead, behind = cell(result_table, "Turned", "minus:Middle"), cell(result_table, "Middle", "minus:Turned")
    assert ahead.value == pytest.approx(1 - 1 / math.log2(2 + 1))
    assert behind.value == pytest.approx(-(1 - 1 / math.log2(2 + 1)))
    assert (ahead.change, behind.change) == ("better", "worse")
    for words in ("(Holm)", "(Bonferroni)", "randomisation test", "Cohen's d", " wins, ", " losses"):
        assert words in ahead.hint
    assert "8 wins, 0 ties, 0 losses" in ahead.hint
    assert "0 wins, 0 ties, 8 losses" in behind.hint
    assert cell(result_table, "Turned", "minus:Turned").value is None


def test_a_notice_becomes_a_footnote_of_its_row(results: Folder) -> None:
    result_table = only_table(results)
    assert result_table.footnotes == (("a", "untrained"),)
    assert [row.notes for row in result_table.rows if row.label == "Turned"] == [("a",)]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("headlin", "did you mean headline"),
        ("significanc", "did you mean significance"),
        ("p5O", "did you mean p95 or p50"),
        ("nDCG@10,p5O", "unknown column 'p5O'; did you mean p95 or p50"),
    ],
)
def test_an_unknown_layout_or_column_offers_near_misses(results: Folder, layout: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table([results.path], "csv", layout)


@pytest.mark.parametrize("layout", ["headlin", "zzzzzz", "Headline", ""])
def test_an_unknown_layout_lists_all_layouts(results: Folder, layout: str) -> None:
    with pytest.raises(InputError, match=f"unknown layout {layout!r}; .*{', '.join(LAYOUTS)}"):
        table([results.path], "csv", layout)


def test_an_unknown_format_offers_near_misses(results: Folder) -> None:
    with pytest.raises(UnknownNameError, match="did you mean markdown"):
        table([results.path], "markdwon")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in NEEDS_MORE])
@pytest.mark.parametrize("format_name", FORMATS)
def test_every_layout_prints_in_every_format_and_twice_the_same(
    results: Folder, format_name: str, layout: str
) -> None:
    first = table([results.path], format_name, layout)
    assert first == table([results.path], format_name, layout)
    assert "Turned" in first


def test_csv_keeps_full_precision_and_puts_the_unit_into_the_name(results: Folder) -> None:
    rows = {row["system"]: row for row in csv.DictReader(io.StringIO(table([results.path], "csv")))}
    assert float(rows["Middle"]["nDCG@10"]) == pytest.approx(0.6309297535714575, rel=1e-12)  # 1 / log2(2 + 1)
    assert float(rows["Middle"]["p50_ms"]) == pytest.approx(200)
    assert float(rows["Middle"]["nDCG@10_p_holm"]) < 0.05
    assert rows["Broken"]["status"] == "failed"
    assert rows["Broken"]["nDCG@10"] == ""


def test_latex_is_a_booktabs_table_with_caption_label_and_legend(results: Folder) -> None:
    text = table([results.path], "latex")
    for part in (
        r"\toprule",
        r"\bottomrule",
        r"\caption{",
        r"\label{tab:headline-g1-",
        r"\bfseries 1.0000$^{\uparrow}$",
    ):
        assert part in text
    assert text.count("{") == text.count("}")
    assert text.isascii()


def test_markdown_rows_have_as_many_cells_as_the_head(results: Folder) -> None:
    lines = [line for line in table([results.path], "markdown").splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_what_latex_cannot_print_is_written_by_its_code_point() -> None:
    assert (
        latex.escape("&%_#$ {x} ~^\\")
        == r"\&\%\_\#\$ \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert latex.escape("é 😀 א") == "é {[}U+1F600] {[}U+05D0]"
    assert latex.escape("a\n\\end{tabular}") == r"a \textbackslash{}end\{tabular\}"


def test_markdown_cannot_be_broken_out_of() -> None:
    assert markdown.escape("a|b\n</td> *x*") == r"a\|b \</td\> \*x\*"
