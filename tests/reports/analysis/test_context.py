from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.analysis.timing import about_noise
from reports.formats import latex, text
from reports.formats.html import render
from reports.formats.measured import how_we_measured
from reports.tables.by_name import tables
from rerankers.errors import UnknownNameError
from rerankers.interface import Usage

if TYPE_CHECKING:
    from reports.analysis.values import Group
    from tests.reports.conftest import Folder

TEXTS = {"a": ["x", "y", "z"], "b": ["x", "y", "z"]}
QRELS = {"a": {"d0": 0, "d1": 1}, "b": {"d0": 1}}


def only_group(folder: Folder) -> Group:
    (group,) = build([read_results(folder.path)]).groups
    return group


def test_a_measure_is_the_mean_over_all_judged_queries(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    system = only_group(folder).system("First stage")
    discounted_at_rank_2 = 1 / math.log2(2 + 1)
    assert system.quality.estimates["nDCG@10"].value == pytest.approx((discounted_at_rank_2 + 1.0) / 2)
    assert system.quality.estimates["RR@10"].value == pytest.approx((1 / 2 + 1.0) / 2)
    assert system.quality.estimates["Judged@10"].value == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_differences_are_paired_with_the_first_stage(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "Turned", folder.turned)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    group = only_group(folder)
    comparison = group.system("Turned").quality.against["RR@10"]
    assert group.baseline == "First stage"
    assert comparison.difference == pytest.approx(((1 / 2 - 1 / 2) + (1 / 3 - 1)) / 2)
    assert (comparison.wins, comparison.ties, comparison.losses) == (0, 1, 1)


def test_latencies_are_quantiles_of_every_call_and_stages_add_up_to_the_mean(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(
        pool, "S", folder.kept, seconds=lambda i: 0.1 + 0.2 * i, stages={"forward": 0.05, "order": 0.01}
    )
    system = only_group(folder).system("S")
    assert system.timing.latency is not None
    assert system.timing.latency.p50.value == pytest.approx((0.1 + 0.3) / 2)
    assert system.timing.latency.mean.value == pytest.approx((0.1 + 0.3) / 2)
    assert [stage.name for stage in system.timing.stages] == ["forward", "order", "untracked"]
    assert system.timing.stages[-1].seconds == pytest.approx(0.2 - 0.05 - 0.01)
    assert sum(stage.share for stage in system.timing.stages) == pytest.approx(1.0)


def test_speed_ups_refer_to_the_slowest_reranker(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "Fast", folder.kept, seconds=lambda _: 0.1)
    folder.cell(pool, "Slow", folder.kept, seconds=lambda _: 0.44)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage", seconds=lambda _: 1e-5)
    group = only_group(folder)
    assert group.reference == "Slow"
    speedup = group.system("Fast").timing.speedup
    assert speedup is not None
    assert (speedup.low, speedup.value, speedup.high) == pytest.approx((4.4, 4.4, 4.4))
    assert group.system("First stage").timing.speedup is None


def test_the_interval_of_a_speed_up_is_of_the_ratio_and_pairs_the_queries(folder: Folder) -> None:
    texts = {f"q{i}": ["x", "y"] for i in range(40)}
    pool = folder.pool(texts, {query_id: {"d0": 1} for query_id in texts})
    folder.cell(pool, "Slow", folder.kept, seconds=lambda i: 1.2 + i / 10, repeats=2)
    folder.cell(pool, "Fast", folder.turned, seconds=lambda i: (1.2 + i / 10) / 3)
    folder.cell(pool, "Other", folder.turned, seconds=lambda i: (1.2 + (39 - i) / 10) / 3)
    group = only_group(folder)
    fast, other = group.system("Fast").timing.speedup, group.system("Other").timing.speedup
    assert fast is not None
    assert other is not None
    assert (fast.low, fast.high) == pytest.approx((3, 3))  # what makes a query slow for both cancels
    assert other.low is not None
    assert other.high is not None
    assert other.low < 2.5 < 3.6 < other.high


def test_more_repeats_of_the_same_queries_narrow_no_interval(folder: Folder) -> None:
    texts = {f"q{i}": ["x", "y"] for i in range(30)}
    pool = folder.pool(texts, {query_id: {"d0": 1} for query_id in texts})
    for label, repeats in (("Once", 1), ("Often", 16)):
        folder.cell(pool, label, folder.kept, seconds=lambda i: 1 + i / 10, repeats=repeats)
    widths = []
    for label in ("Once", "Often"):
        latency = only_group(folder).system(label).timing.latency
        assert latency is not None
        for estimate in (latency.p50, latency.mean):
            assert estimate.low is not None
            assert estimate.high is not None
            widths.append(estimate.high - estimate.low)
    assert widths[2:] == pytest.approx(widths[:2], rel=0.15)


def test_a_chosen_baseline_is_what_tests_and_speed_ups_refer_to(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "Fast", folder.kept, seconds=lambda _: 0.1)
    folder.cell(pool, "Slow", folder.turned, seconds=lambda _: 0.4)
    (group,) = build([read_results(folder.path)], baseline="Fast").groups
    assert (group.baseline, group.reference) == ("Fast", "Fast")
    speedup = group.system("Slow").timing.speedup
    assert speedup is not None
    assert speedup.value == pytest.approx(0.1 / 0.4)
    assert group.system("Slow").quality.against["RR@10"].difference == pytest.approx((0 + 1 / 3 - 1) / 2)


def test_work_is_a_mean_per_query_and_faults_are_counted_once_whatever_the_repeats(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(
        pool,
        "S",
        folder.kept,
        repeats=3,
        usage=lambda: Usage(windows=9, prompt_tokens=100, faults={"missing": 2}),
    )
    system = only_group(folder).system("S")
    assert system.work.counts == {"windows": 9.0, "prompt_tokens": 100.0}
    assert dict(system.work.faults) == {"missing": 2 + 2}
    assert system.work.faulty_queries == 2


def test_what_retrieval_took_is_kept_apart_from_reranking(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept)
    before = only_group(folder).before
    assert [stage.name for stage in before] == ["retrieve", "fetch"]
    assert [stage.seconds for stage in before] == pytest.approx([0.010, 0.002])


def test_a_first_stage_that_was_not_timed_is_called_so_wherever_times_stand(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS, is_timed=False)
    folder.cell(pool, "S", folder.kept)
    context = build([read_results(folder.path)])
    sentences = {
        "page": render(context),
        "text": text.render(tables(context, "headline")),
        "LaTeX": latex.render(tables(context, "stages")),
        "method": how_we_measured(context, "markdown"),
    }
    for name, content in sentences.items():
        assert "first stage was not timed" in " ".join(content.split()), name


def test_how_it_was_measured_names_components_and_no_measure_without_judgements(folder: Folder) -> None:
    described = {"parts": [{"reranker": "first-stage"}, {"reranker": "embedding", "model": "any/model"}]}
    pool = folder.pool(TEXTS, {})
    folder.cell(pool, "Both", folder.kept, reranker="fusion", described=described)
    told = how_we_measured(build([read_results(folder.path)]), "latex")
    assert "Both (fusion): first-stage, embedding (model any/model)." in told
    assert "judged" not in told


def test_controls_are_never_first_and_failed_cells_are_last(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "Broken", folder.kept, status="failed", error="out of memory", only=1)
    folder.cell(pool, "Oracle", folder.kept, reranker="oracle")
    folder.cell(pool, "S", folder.turned)
    group = only_group(folder)
    assert [system.label for system in group.systems] == ["S", "Oracle", "Broken"]
    assert not group.system("Broken").quality.estimates
    assert "Broken failed: out of memory" in group.warnings


def test_an_unfinished_cell_has_no_numbers_and_says_so(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept, status="running", only=1)
    group = only_group(folder)
    assert not group.system("S").quality.estimates
    assert group.system("S").timing.latency is None
    assert any("unfinished (1 of 2 queries)" in warning for warning in group.warnings)


def test_a_finished_cell_with_a_missing_ranking_counts_zero_and_says_so(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept, only=1)
    group = only_group(folder)
    assert group.system("S").quality.estimates["RR@10"].value == pytest.approx((1 / 2 + 0) / 2)
    assert "S has no ranking for 1 query; each counts 0." in group.warnings


def test_other_pools_and_modes_make_other_groups(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    other = folder.pool({"a": ["x", "y"]}, {"a": {"d0": 1}})
    folder.cell(pool, "S", folder.kept)
    folder.cell(other, "S", folder.kept)
    folder.cell(pool, "S", folder.kept, mode="throughput")
    groups = build([read_results(folder.path)]).groups
    assert [(group.pool.digest, group.mode) for group in groups] == [
        (pool.digest, "latency"),
        (other.digest, "latency"),
        (pool.digest, "throughput"),
    ]


def test_different_hardware_is_said_in_place(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept)
    folder.cell(pool, "T", folder.kept, environment={"cpu": {"model": "Other CPU"}})
    assert any("different hardware" in warning for warning in only_group(folder).warnings)


def test_equal_labels_from_two_folders_are_told_apart(folder: Folder) -> None:
    again = type(folder)(folder.path.with_name("later"))
    for result_folder in (folder, again):
        result_folder.cell(result_folder.pool(TEXTS, QRELS), "S", result_folder.kept)
    (group,) = build([read_results(folder.path), read_results(again.path)]).groups
    assert {system.label for system in group.systems} == {"S (results)", "S (later)"}


def test_a_system_measured_again_says_what_changed_and_claims_no_speed_from_one_session_of_each(
    folder: Folder,
) -> None:
    texts = {f"q{i}": ["x", "y", "z"] for i in range(8)}
    later = type(folder)(folder.path.with_name("later"))
    busy = {"cpu": {"model": "Example CPU", "usable_threads": 2}, "state": {"load_average": [3.8]}}
    for result_folder, order, seconds in ((folder, folder.turned, 0.2), (later, folder.kept, 0.6)):
        pool = result_folder.pool(texts, {query_id: {"d2": 1} for query_id in texts})
        result_folder.cell(
            pool,
            "S",
            order,
            seconds=lambda i, seconds=seconds: seconds + i / 1000,  # type: ignore[misc]
            environment=busy,
        )
    (group,) = build([read_results(folder.path), read_results(later.path)]).groups
    change = 1 / math.log2(3 + 1) - 1
    assert "".join(group.findings[0]) == (  # before all else
        f"S regressed in quality from results to later: −{-change:.3f} nDCG@10 "
        "(significant, p\u00a0<\u00a00.001), 3.0 times slower in one session of each, at load 1.9 and 1.9 a "
        "thread, which cannot be told apart here."
    )
    (group,) = build([read_results(later.path), read_results(folder.path)]).groups
    assert "".join(group.findings[-1]).startswith("S from later to results: +")  # no regression: after all


def test_an_unknown_baseline_offers_near_misses(folder: Folder) -> None:
    folder.cell(folder.pool(TEXTS, QRELS), "PE-Rank", folder.kept)
    with pytest.raises(UnknownNameError, match="did you mean PE-Rank"):
        build([read_results(folder.path)], baseline="PE-Rnk")


def test_the_finding_names_the_best_and_the_price_of_the_fastest(folder: Folder) -> None:
    texts = {f"q{i}": ["x", "y", "z"] for i in range(8)}
    pool = folder.pool(texts, {query_id: {"d2": 1} for query_id in texts})
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")
    folder.cell(pool, "Good", folder.turned, seconds=lambda _: 0.6)
    folder.cell(pool, "Quick", lambda _: [1, 2, 0], seconds=lambda _: 0.1)
    sentences = ["".join(sentence) for sentence in only_group(folder).findings]
    gain = 1 - 1 / math.log2(3 + 1)
    loss = 1 / math.log2(2 + 1) - 1
    assert sentences[0].startswith(
        f"Good ranks best, with nDCG@10 1.000: +{gain:.3f} over First stage (significant"
    )
    assert sentences[1].startswith(f"Quick is 6.0 times faster than Good at −{-loss:.3f} nDCG@10")


def test_without_judgements_there_is_no_measure_and_the_rest_remains(folder: Folder) -> None:
    folder.cell(folder.pool(TEXTS, {}), "S", folder.kept)
    group = only_group(folder)
    assert not group.system("S").quality.estimates
    assert group.system("S").timing.latency is not None
    assert any("not judged" in warning for warning in group.warnings)


def test_the_identity_control_says_how_quiet_the_machine_was(folder: Folder) -> None:
    pool = folder.pool({f"q{i}": ["x", "y"] for i in range(40)}, {"q0": {"d0": 1}})
    folder.cell(pool, "Quiet", folder.kept, control=lambda _: 1e-5)
    folder.cell(pool, "Loud", folder.kept, control=lambda i: 1e-5 if i < 30 else 3e-5)
    folder.cell(pool, "Unknown", folder.kept)
    group = only_group(folder)
    assert group.system("Quiet").timing.noise == pytest.approx(0.0)
    assert group.system("Loud").timing.noise == pytest.approx(3 - 1)
    assert group.system("Unknown").timing.noise is None
    sentence = about_noise(group.systems)
    assert "0\u202f% above its median during Quiet, 200\u202f% during Loud" in sentence
    assert about_noise([group.system("Unknown")]) == ""
