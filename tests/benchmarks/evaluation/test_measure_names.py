"""Measures under the names that the field uses, and tried before anything runs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import pytrec_eval

from benchmarks.cli.main import main
from benchmarks.evaluation.functions.registry import MEASURES
from benchmarks.evaluation.measure_names import PRESETS
from benchmarks.evaluation.measures import computable, evaluate, expand, parse, try_measures
from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.dry_run import describe_run
from benchmarks.results.store import read_results
from rerankers.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QRELS = {"1": {"10": 1, "11": 0, "12": 2, "13": 3}, "2": {"20": 2, "21": 1}}
RANKINGS = {"1": ["11", "12", "99", "10", "13"], "2": ["98", "21", "20"]}


def values(name: str) -> dict[str, float]:
    scored = {q: [(d, float(-rank)) for rank, d in enumerate(ids)] for q, ids in RANKINGS.items()}
    return evaluate(scored, QRELS, [name])[name]


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("map", "AP"),
        ("map_cut_5", "AP@5"),
        ("ndcg", "nDCG"),
        ("ndcg_cut_10", "nDCG@10"),
        ("ndcg_cut_3", "nDCG@3"),
        ("recip_rank", "RR"),
        ("recall_100", "R@100"),
        ("recall_5", "R@5"),
        ("P_10", "P@10"),
        ("P_5", "P@5"),
        ("Rprec", "Rprec"),
        ("bpref", "Bpref"),
        ("success_1", "Success@1"),
        ("set_P", "SetP"),
        ("set_recall", "SetR"),
        ("set_F", "SetF"),
        ("set_map", "SetAP"),
        ("infAP", "infAP"),
        ("iprec_at_recall_0.10", "IPrec@0.1"),
        ("num_rel", "NumRel"),
        ("num_ret", "NumRet"),
        ("num_rel_ret", "NumRet(rel=1)"),
    ],
)
def test_a_name_of_trec_eval_gives_the_value_of_trec_eval(name: str, measure: str) -> None:
    assert expand(name) == [measure]
    scored = {q: {d: float(-rank) for rank, d in enumerate(ids)} for q, ids in RANKINGS.items()}
    base, _, cut = name.rpartition("_")
    is_cut = cut.replace(".", "").isdigit()
    measures = {f"{base}.{float(cut) if '.' in cut else cut}"} if is_cut else {name}
    theirs = pytrec_eval.RelevanceEvaluator(QRELS, measures).evaluate(scored)
    assert values(name) == pytest.approx({q: theirs[q][name] for q in QRELS})


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("ndcg@10", "nDCG@10"),
        ("NDCG@10", "nDCG@10"),
        ("mrr@10", "RR@10"),
        ("MRR_10", "RR@10"),
        ("recall@100", "R@100"),
        ("ap(rel=2)", "AP(rel=2)"),
        ("judged@10", "Judged@10"),
        (" nDCG@10 ", "nDCG@10"),
        ("ndcg_cut.10", "nDCG@10"),
    ],
)
def test_names_match_without_case(name: str, measure: str) -> None:
    assert expand(name) == [measure]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("P", "needs the parameter cutoff: write it like P@10"),
        ("R", "needs the parameter cutoff: write it like R@10"),
        ("BPM", "needs the parameter cutoff: write it like BPM@10"),
        ("BPM@10", r"needs the parameter max_rel: write it like BPM\(max_rel=...\)"),
        ("IPrec", "needs the parameter recall: write it like IPrec@0.1"),
        ("SetF(beta=2)", r"beta must be a number such as 2\.0, not 2$"),
        ("nDCG@0", "cutoff must be 1 or more, not 0"),
        ("R@0", "cutoff must be 1 or more, not 0"),
        ("nDCG@2.5", r"cutoff must be a whole number such as 2, not 2\.5"),
        ("P@True", "cutoff must be a whole number such as 2, not True"),
        ("P(rel=0)@10", "rel must be 1 or more, not 0"),
        ("P(level=2)@10", "has no parameter 'level'; it takes cutoff, rel, judged_only"),
        ("nDCG@-1", "cannot read the measure 'nDCG@-1': write it like nDCG@10"),
        ("nDCG@", "cannot read the measure"),
        ("", "cannot read the measure"),
        ("nDCG@99999999999999999999", "cannot be computed here"),
    ],
)
def test_wrong_parameters_are_one_line(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        parse(name)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_offers_near_misses_presets_included() -> None:
    with pytest.raises(UnknownNameError, match="did you mean trec-dl"):
        expand("trec-dll")


def test_the_preset_of_trec_dl_counts_grades_2_and_3_as_relevant() -> None:
    assert expand("trec-dl") == ["nDCG@10", "RR(rel=2)", "AP(rel=2)", "R(rel=2)@100", "Judged@10"]
    # Query 1: grades by rank 0, 2, unjudged, 1, 3; two passages have grade 2 or more, at ranks 2 and 5.
    assert values("RR(rel=2)")["1"] == 1 / 2
    assert values("AP(rel=2)")["1"] == pytest.approx((1 / 2 + 2 / 5) / 2)
    assert values("AP")["1"] == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert values("R(rel=2)@100") == {"1": 1.0, "2": 1.0}


def test_listed_measures_are_those_that_a_run_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "measures"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"nDCG", "AP", "P@10", "R@10", "Success@10", "IPrec@0.1", "SetF", "trec-dl"} <= {*listed}
    assert not {"alpha_nDCG", "BPM", "INST", "RBP", "P", "R"} & {*listed}
    for name in listed:
        for measure in expand(name):
            if not measure.startswith("ERR"):  # see below
                try_measures([measure], {"q": {"d": 1, "e": 0}})
    assert [*(name for name, _ in computable()), *MEASURES, *PRESETS] == listed


def test_printed_names_parse_to_the_same_measure() -> None:
    names = [name for name, _ in computable()]
    for name in [*names, "AP(rel=2)@5", "SetF(beta=2.0)", "nDCG(dcg='exp-log2')@10"]:
        assert parse(str(parse(name))) == parse(name)


@pytest.fixture
def planned(write_experiment: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Any, Any, Path]]:
    def load(*measures: str) -> tuple[Any, Any, Path]:
        return *load_experiment(write_experiment(measures=list(measures))), tmp_path / "out"

    return load


def test_an_experiment_keeps_measures_as_they_print_and_once(planned: Callable[..., Any]) -> None:
    experiment, _, _ = planned("ndcg_cut_10", "NDCG@10", "map", "trec-dl")
    assert experiment.measures == ["nDCG@10", "AP", "RR(rel=2)", "AP(rel=2)", "R(rel=2)@100", "Judged@10"]


@pytest.mark.parametrize("measure", ["nDCG@0", "P", "SetF(beta=2)"])
def test_a_wrong_measure_is_named_with_its_line(measure: str, planned: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"experiment\.yaml:\d+: the measure"):
        planned("nDCG@10", measure)


@pytest.mark.skipif(shutil.which("perl") is None, reason="ERR is computed by a Perl program")
@pytest.mark.parametrize("how", ["run", "dry run"])
def test_a_measure_that_the_ids_do_not_fit_is_refused_before_anything_runs(
    how: str, planned: Callable[..., Any]
) -> None:
    assert parse("ERR@20")  # is a measure; but this dataset's query ids are q0, q1, q2
    experiment, config, folder = planned("nDCG@10", "ERR@20")
    with pytest.raises(
        InputError, match=r"hits: the measure 'ERR@20' .* numbers as query ids, and 'q0' is not one"
    ) as caught:
        run(experiment, config, folder) if how == "run" else list(describe_run(experiment, folder))
    assert "\n" not in str(caught.value)
    assert not [*folder.glob("*/record.json")]


@pytest.mark.skipif(shutil.which("perl") is None, reason="ERR is computed by a Perl program")
def test_a_measure_added_to_finished_cells_is_tried_before_their_records_ask_for_it(
    planned: Callable[..., Any],
) -> None:
    experiment, config, folder = planned("nDCG@10")
    run(experiment, config, folder)
    with pytest.raises(InputError, match="the measure 'ERR@20'"):
        run(experiment.model_copy(update={"measures": ["nDCG@10", "ERR@20"]}), config, folder)
    assert {cell.record.measures for cell in read_results(folder).cells} == {("nDCG@10",)}
    with pytest.raises(InputError, match="'ERR@20' cannot be computed"):
        evaluate({"q0": [("q0-d0", 1.0)]}, {"q0": {"q0-d0": 1}}, ["ERR@20"])


@pytest.mark.skipif(shutil.which("perl") is None, reason="ERR is computed by a Perl program")
@pytest.mark.parametrize("measure", ["ERR@20", "nDCG(dcg='exp-log2')@10"])
@pytest.mark.parametrize(
    ("qrels", "says"),
    [
        ({"1": {"a": 1}, "2020-1": {"a": 1}}, "numbers as query ids, and '2020-1' is not one"),  # query 1 too
        ({"1": {"a": 5}}, "grades up to 4, and query '1' has a higher one"),
    ],
)
def test_ids_and_grades_that_gdeval_misreads_are_refused(
    measure: str, qrels: dict[str, dict[str, int]], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        try_measures([measure], qrels)
    try_measures([measure], {"1": {"a": 4}, "2": {"b": 0}})


@pytest.mark.skipif(shutil.which("perl") is None, reason="ERR is computed by a Perl program")
def test_the_expected_reciprocal_rank_is_that_of_its_paper() -> None:
    # Chapelle et al. (2009): a grade g of at most 4 satisfies with (2^g - 1) / 2^4. Query 2: unjudged, 1, 2.
    assert values("ERR@20")["2"] == pytest.approx(1 / 16 / 2 + 15 / 16 * 3 / 16 / 3, abs=1e-5)
