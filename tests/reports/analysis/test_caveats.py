"""Every guard fires where it must, and is silent where nothing is wrong; some fire in `test_context`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.results.cell import CellWriter
from benchmarks.results.cell_record import read_record
from benchmarks.results.record import Executor, Session
from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.analysis.estimates import Estimate
from reports.formats import html, latex, markdown
from reports.tables.by_name import table, tables
from reports.tables.columns import column
from rerankers.interface import Cost, Ranking, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from rerankers import RerankRequest
    from tests.reports.conftest import Folder

TEXTS = {"a": ["x", "y", "z"], "b": ["x", "y"]}
QRELS = {"a": {"d0": 1}, "b": {"d1": 1}}


def warnings(folder: Folder) -> list[str]:
    """All of a report's warnings, of its groups and of the whole."""
    context = build([read_results(folder.path)])
    return [*context.warnings, *(warning for group in context.groups for warning in group.warnings)]


def change_record(path: Path, **changes: Any) -> None:
    record = json.loads((path / "record.json").read_text(encoding="utf-8"))
    for name, value in changes.items():
        record[name] = {**record[name], **value} if isinstance(value, dict) else value
    (path / "record.json").write_text(json.dumps(record), encoding="utf-8")


def test_nothing_is_said_where_nothing_is_wrong(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept)
    folder.cell(pool, "T", folder.turned, repeats=2)
    assert warnings(folder) == []


def test_a_ranking_that_changes_between_repeats_is_said(folder: Folder) -> None:
    turn = iter(range(4))

    def unstable(request: RerankRequest) -> list[int]:
        return folder.kept(request) if next(turn) < 3 else folder.turned(request)  # query b in repeat 1

    folder.cell(folder.pool(TEXTS, QRELS), "S", unstable, repeats=2)
    expected = "S ranked 1 query differently in another repeat; the first repeat is evaluated."
    assert warnings(folder) == [expected]


def test_a_busy_machine_is_said_beside_the_latencies_it_spoilt(folder: Folder) -> None:
    pool = folder.pool({"q": ["x", "y"]}, {"q": {"d0": 1}})
    for label, load in (("Quiet", 0.9), ("Busy", 3.9)):
        machine = {"cpu": {"model": "Example CPU", "usable_threads": 2}}
        samples = [{"elapsed_seconds": 0.0, "load_average": [load, 9.0, 9.0]}]
        folder.cell(pool, label, folder.kept, environment=machine, session={"samples": samples})
    (group,) = build([read_results(folder.path)]).groups
    sentences = [warning for warning in group.warnings if "load average" in warning]
    assert len(sentences) == 1
    assert sentences[0].startswith("Busy was measured at a load average of 1.9 a thread")


def test_latencies_of_two_machines_in_one_cell_are_said(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept, only=1)
    path = folder.path / folder.cells[0]
    record = read_record(path)
    assert record is not None
    other = Session(started_at="2025-03-02T10:00:00Z", environment={"cpu": {"model": "Other CPU"}})
    with CellWriter(path, record.model_copy(update={"sessions": (*record.sessions, other)})) as writer:
        request = pool.requests()[1]
        writer.add([Ranking.of(request, folder.kept(request), Cost())], 0, 0.1)
        writer.update(status="done")
    (mixed, different) = warnings(folder)
    assert mixed.startswith("S was measured on different machines: its latencies and their percentiles mix")
    assert "Other CPU" in mixed
    assert different.startswith("Latencies come from different hardware")


def test_two_hosts_of_one_kind_in_one_percentile_and_what_ran_beside_a_system_are_said(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept, only=1)
    path = folder.path / folder.cells[0]
    record = read_record(path)
    assert record is not None
    (first,) = record.sessions
    first = first.model_copy(update={"environment": {**first.environment, "host": "0a1b2c3d"}})
    beside = Executor(name="ray", node="89abcdef", gpus=0, co_runners=("T",))
    environment = {**first.environment, "host": "4e5f6071"}
    second = Session(started_at="2025-03-02T10:00:00Z", environment=environment, executor=beside)
    with CellWriter(path, record.model_copy(update={"sessions": (second,)})) as writer:
        writer.update(sessions=(first, second))
        request = pool.requests()[1]
        writer.add([Ranking.of(request, folder.kept(request), Cost())], 0, 0.1)
        writer.update(status="done")
    hosts, co_runners = warnings(folder)
    assert hosts.startswith("S was measured on 2 machines of one kind (hosts 0a1b2c3d, 4e5f6071)")
    assert co_runners.startswith("S was measured while others ran on the same machine (T)")
    context = build([read_results(folder.path)])
    assert "4e5f6071" in html.render(context)
    for render in (markdown.render, latex.render):
        assert "4e5f6071" in render(tables(context, "headline"))
    assert "4e5f6071" not in table([folder.path], "csv")
    assert "(hosts 0a1b2c3d, 4e5f6071)" in capsys.readouterr().err


def test_different_batch_sizes_in_one_group_are_said(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for label, size in (("S", 2), ("T", 8)):
        folder.cell(pool, label, folder.kept, mode="throughput")
        change_record(folder.path / folder.cells[-1], protocol={"batch_size": size})
    expected = "Systems were measured with different batch sizes (batch size 2, batch size 8)."
    assert warnings(folder) == [expected]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (
            {"described": {"dtype": "torch.float32"}},
            {"described": {"dtype": "bfloat16"}},
            "in different dtypes (float32, bfloat16)",
        ),
        (
            {
                "described": {
                    "dtype": "float32",
                    "encoder": {"dtype": "float32"},
                    "training": {"dtype": "auto"},
                }
            },
            {"described": {"parts": [{"reranker": "embedding", "dtype": "bfloat16"}, {"dtype": "float32"}]}},
            "in different dtypes (float32, bfloat16 and float32)",
        ),
        (
            {"session": {"described": {"dtype": "float32"}}},
            {"session": {"described": {"steps": [{"dtype": "float16"}]}}},
            "in different dtypes (float32, float16)",
        ),
        (
            {"environment": {"threads": {"pinned": 1}}},
            {"environment": {"threads": {"pinned": 8}}},
            "on different numbers of threads (1, 8)",
        ),
    ],
)
def test_systems_that_ran_under_unlike_conditions_are_said(
    folder: Folder, one: dict[str, Any], other: dict[str, Any], expected: str
) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "First stage", folder.kept, reranker="first-stage")  # has no dtype: says nothing
    folder.cell(pool, "S", folder.kept, **one)
    folder.cell(pool, "T", folder.turned, **one)
    assert not [warning for warning in warnings(folder) if "Systems were measured" in warning]
    folder.cell(pool, "U", folder.turned, **other)
    assert f"Systems were measured {expected}." in warnings(folder)


def test_systems_of_which_only_some_were_interleaved_are_said(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept)
    folder.cell(pool, "T", folder.turned)
    change_record(folder.path / folder.cells[-1], protocol={"interleave": True})
    expected = "in turn only in part (one system after the other, query by query in turn)"
    assert warnings(folder) == [f"Systems were measured {expected}."]


def test_served_systems_stand_apart_and_another_load_is_said(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    for label, load in (("S", {"rate": 2.0}), ("T", {"concurrency": 4}), ("U", None)):
        folder.cell(pool, label, folder.kept)
        if load:
            change_record(folder.path / folder.cells[-1], protocol={"mode": "served", "served": load})
    expected = "Systems were measured under different load (2 requests a second, poisson, 4 clients)."
    assert warnings(folder) == [expected]
    modes = [group.mode for group in build([read_results(folder.path)]).groups]
    assert sorted(modes) == ["latency", "served"]


def test_one_seed_of_a_system_that_draws_at_random_is_said(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    shuffled = {"initial_order": "shuffled", "seed": 1}
    folder.cell(pool, "S", folder.kept, reranker="rankgpt", options=shuffled)
    folder.cell(pool, "T", folder.kept, reranker="rankgpt", options={"temperature": 0.0})
    expected = "S draws at random and was run with one seed: how far it strays is not known."
    assert warnings(folder) == [expected]
    folder.cell(pool, "S again", folder.turned, reranker="rankgpt", options={**shuffled, "seed": 2})
    assert warnings(folder) == []


def test_queries_for_which_nothing_was_found_are_said(folder: Folder) -> None:
    folder.cell(folder.pool({**TEXTS, "c": []}, {**QRELS, "c": {"d9": 1}}), "S", folder.kept)
    expected = "The first stage found nothing for 1 query; each counts 0 for every system."
    assert warnings(folder) == [expected]


def test_queries_that_nobody_judged_are_said(folder: Folder) -> None:
    whole = folder.pool(TEXTS, QRELS)
    about = folder.path / "pools" / whole.digest / "about.json"
    about.write_text(json.dumps({**json.loads(about.read_text(encoding="utf-8")), "unjudged": 157}))
    folder.cell(whole, "S", folder.kept)
    assert warnings(folder) == ["Left out: 157 queries of the dataset that nobody judged."]


def test_excluded_passages_and_warnings_about_the_dataset_are_said(folder: Folder) -> None:
    counts = {"rule": "negative-grades", "candidates": 57, "queries": 40, "relevant": 0}
    first_stage = {"kind": "bm25", "excluded": counts, "warnings": ["2 of 50 queries are empty"]}
    folder.cell(folder.pool(TEXTS, QRELS, first_stage=first_stage), "S", folder.kept)
    assert warnings(folder) == [
        "Excluded from the candidates by the rule 'negative-grades': 57 passages of 40 queries.",
        "2 of 50 queries are empty",
    ]


def test_candidates_of_which_not_one_is_judged_are_said(folder: Folder) -> None:
    pool = folder.pool(TEXTS, {query_id: {"17": 1, "18": 0} for query_id in QRELS})
    folder.cell(pool, "S", folder.kept)
    says = "Not one candidate is judged: candidates are 'd0' and 'd1', judged passages '17' and '18'"
    assert any(sentence.startswith(says) for sentence in warnings(folder))


def test_uncommitted_changes_are_said(folder: Folder) -> None:
    dirty = {"cpu": {"model": "Example CPU"}, "git": {"revision": "0123abcd", "is_dirty": True}}
    folder.cell(folder.pool(TEXTS, QRELS), "S", folder.kept, environment=dirty)
    expected = f"{folder.path.name} was measured from a checkout with uncommitted changes."
    assert warnings(folder) == [expected]


def test_pools_that_look_alike_and_differ_are_said_and_stand_apart(folder: Folder) -> None:
    pools = [folder.pool(TEXTS, QRELS), folder.pool({**TEXTS, "a": ["x", "y", "other"]}, QRELS)]
    for pool in pools:
        folder.cell(pool, "S", folder.kept)
    (warning,) = warnings(folder)
    assert "appears with 2 different candidate pools" in warning
    assert all(pool.digest in warning for pool in pools)
    assert len(build([read_results(folder.path)]).groups) == 2


def test_a_system_that_ran_otherwise_on_another_pool_is_said(folder: Folder) -> None:
    pools = [
        folder.pool(TEXTS, QRELS),
        folder.pool({name: texts[:1] for name, texts in TEXTS.items()}, QRELS),
    ]
    cpu: dict[str, Any] = {"cpu": {"model": "CPU"}}
    gpu: dict[str, Any] = {**cpu, "gpu": [{"model": "GPU"}]}
    for pool, environment, dtype in zip(pools, (cpu, gpu), ("float32", "bfloat16"), strict=True):
        folder.cell(pool, "Same", folder.kept)
        for label in ("S", "T"):
            described = {"dtype": dtype} if label == "S" else {}
            folder.cell(pool, label, folder.kept, environment=environment, described=described)
    sentences = warnings(folder)
    assert "From table to table, S, T ran on different hardware (CPU; GPU + CPU)." in sentences
    assert "From table to table, S ran in different dtypes (float32; bfloat16)." in sentences
    assert not any("Same" in warning for warning in sentences)


def test_query_sets_depths_and_modes_stand_apart(folder: Folder) -> None:
    whole = folder.pool(TEXTS, QRELS)
    fewer_queries = folder.pool({"a": TEXTS["a"]}, {"a": QRELS["a"]})
    shallower = folder.pool({query_id: texts[:1] for query_id, texts in TEXTS.items()}, QRELS)
    for pool in (whole, fewer_queries, shallower):
        folder.cell(pool, "S", folder.kept)
    folder.cell(whole, "S", folder.kept, mode="throughput")
    groups = build([read_results(folder.path)]).groups
    assert len(groups) == 4
    assert all(len(group.systems) == 1 for group in groups)


def test_a_gpu_that_was_slowed_down_is_said(folder: Folder) -> None:
    power_cap, idle = 0x4, 0x1
    samples = [
        {"elapsed_seconds": 0.0, "gpu": [{"throttle_reasons": reasons}]} for reasons in (idle, power_cap)
    ]
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept, session={"samples": samples[:1]})
    folder.cell(pool, "T", folder.kept, session={"samples": samples})
    assert warnings(folder) == ["T was measured while the GPU ran slower than it could (power cap)."]


def test_ties_that_the_first_stage_broke_stand_beside_the_headline(folder: Folder) -> None:
    ties = iter([3, 0])
    folder.cell(folder.pool(TEXTS, QRELS), "S", folder.kept, usage=lambda: Usage(ties=next(ties)))
    [warning] = warnings(folder)
    assert warning.startswith("S: 1 query of 2 tie within the first ten ranks")
    [group] = build([read_results(folder.path)]).groups
    assert column("ties", group).read(group.systems[0]) == Estimate(3 / 2)  # mean per query


def test_scores_that_change_in_a_batch_are_said(folder: Folder) -> None:
    difference = {"passages": 6, "largest_difference": 0.5, "score_range": 2.0, "same_order": True}
    pool = folder.pool(TEXTS, QRELS)
    folder.cell(pool, "S", folder.kept, described={"batch_invariance": difference})
    folder.cell(pool, "T", folder.kept, described={"batch_invariance": {**difference, "same_order": False}})
    [warning] = warnings(folder)
    assert warning.startswith("T orders 6 passages differently alone and in a batch")
    assert "up to 0.5, within a range of 2" in warning


def test_thoughts_that_all_end_at_their_budget_are_no_unread_answers(folder: Folder) -> None:
    pool = folder.pool(TEXTS, QRELS)
    thought: dict[str, Any] = {"llm_calls": 4, "generated_tokens": 32, "faults": {"cut_off": 2}}
    folder.cell(pool, "S", folder.kept, usage=lambda: Usage(**thought, reasoning_tokens=32))
    folder.cell(pool, "T", folder.kept, usage=lambda: Usage(**thought, reasoning_tokens=20))
    forced, unread = warnings(folder)
    assert forced.startswith("S: not one of its thoughts ended within its budget")
    assert unread.startswith("T: not one of its answers was as asked for")
    [group] = build([read_results(folder.path)]).groups
    assert not column("reasoning_tokens", group).detail  # thinking tokens stand in every table of costs
