"""Columns of what calls of chat models cost, in dollars and in time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.results.record import Operations
from reports.analysis.caveats import about_calls, drift
from reports.analysis.estimates import Estimate
from reports.analysis.timing import operations, stage_operations
from reports.analysis.values import Stage
from reports.formats.numbers import dollars
from reports.tables.columns import COLUMNS, column


def system(**work: float) -> Any:
    stages = (Stage("prefill", 1.8, 0.9), Stage("decode", 0.2, 0.1))
    return SimpleNamespace(
        work=SimpleNamespace(counts=work),
        timing=SimpleNamespace(stages=stages, latency=SimpleNamespace(calls=86)),
    )


def value(name: str, row_system: Any) -> float | None:
    estimate = COLUMNS[name].read(row_system)
    return None if estimate is None else estimate.value


def test_dollars_are_shown_per_query_and_in_all() -> None:
    assert value("dollars", system(dollars=0.02)) == 0.02
    assert value("dollars_total", system(dollars=0.02)) == pytest.approx(0.02 * 86)
    assert value("dollars_total", system()) is value("dollars", system()) is None


def test_energy_and_operations_are_shown_per_query_where_they_are_known() -> None:
    rows = [SimpleNamespace(session=place, stage_seconds={"prefill": 0.5}) for place in (0, 0, 1, 1)]
    sessions = [
        SimpleNamespace(device_joules=joules, environment={"gpu": [{"model": "NVIDIA H200"}]})
        for joules in (30.0, 50.0, None)
    ]  # the last measured none
    counted = Operations(queries=2, flops={"prefill": 3 * 10**9, "decode": 10**9}, bytes={"prefill": 10**9})
    described = SimpleNamespace(described={"dtype": "bfloat16"})
    record: Any = SimpleNamespace(sessions=sessions, operations=counted, system=described)
    cell: Any = SimpleNamespace(record=record, rows=rows)
    entry = system(**operations([cell]))
    entry.work.operations = stage_operations([cell])
    assert value("joules", entry) == (30 + 50) / 4
    assert value("flops", entry) == (3 + 1) / 2
    assert value("bytes", entry) == 1 / 2
    used = 3e9 / 2 / 0.5 / 989.4e12  # the H200's published peak; decode took no time
    assert value("utilisation", entry) == pytest.approx(used)
    group: Any = SimpleNamespace(measures=())
    prefill = column("utilisation:prefill", group).read(entry)
    assert prefill is not None
    assert prefill.value == pytest.approx(used)
    assert column("flops:prefill", group).read(entry) == Estimate(3 / 2)
    assert column("utilisation:decode", group).read(entry) is None
    rows[3].session = 2
    record.operations = None
    assert operations([cell]) == {}
    cell.rows = []
    assert operations([cell]) == {}


def test_the_first_token_and_the_next_ones_are_told_apart_by_call() -> None:
    entry = system(llm_calls=9.0, generated_tokens=109.0)
    assert value("first_token", entry) == pytest.approx(1800 / 9)
    assert value("inter_token", entry) == pytest.approx(200 / (109 - 9))  # the first token ends prefill
    assert value("inter_token", system(llm_calls=9.0)) is None


def test_well_formed_answers_are_a_share_of_the_calls() -> None:
    def share(faults: dict[str, int], **work: float) -> float | None:
        entry = system(**work)
        entry.work.faults = faults
        return value("well_formed", entry)

    assert share({}, llm_calls=9.0, well_formed=9.0, generated_tokens=900.0) == 1.0
    assert share({"malformed": 3}, llm_calls=9.0, generated_tokens=900.0) == 0.0
    assert share({"malformed": 3}, llm_calls=1.0) is None  # scores, not text
    assert share({}) is None


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "0.00"), (0.0042, "0.0042"), (0.123, "0.12"), (12.3, "12.30"), (1234.5, "1,234.50")],
)
def test_small_amounts_keep_two_digits(amount: float, text: str) -> None:
    assert dollars(amount) == text


def test_calls_that_were_not_made_or_not_counted_are_said() -> None:
    entry = system(llm_calls=8.0, calls_replayed=2.0, calls_estimated=8.0)
    entry.label = "RankGPT"
    replayed, estimated = about_calls(entry)
    assert replayed.startswith("RankGPT: 25\u202f% of its calls were answered from a recording")
    assert estimated.startswith("RankGPT: 100\u202f% of its calls have tokens that are an estimate")
    plain = system(llm_calls=8.0)
    assert about_calls(plain) == about_calls(system()) == []


def test_an_endpoint_that_changed_its_model_is_said() -> None:
    def cell(*fingerprints: list[str]) -> Any:
        sessions = [
            SimpleNamespace(described={"system_fingerprints": fingerprint}) for fingerprint in fingerprints
        ]
        named = SimpleNamespace(label="RankGPT")
        return SimpleNamespace(record=SimpleNamespace(sessions=sessions, system=named))

    assert drift([cell(["fp_1"], ["fp_1"], [])]) == []
    (warning,) = drift([cell(["fp_1"], ["fp_1", "fp_2"])])
    assert "2 versions of its model (fp_1, fp_2)" in warning
