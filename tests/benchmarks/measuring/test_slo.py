"""The search for the highest load that keeps an SLO, on a queue whose answer is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.measuring.served import serve
from benchmarks.measuring.slo import Tried, highest_kept, is_few, keeps_up, next_rate
from benchmarks.results.record import Protocol, QueryRow, Served, Slo
from benchmarks.results.store import read_results
from rerankers.baselines import Reverse
from rerankers.errors import InputError
from rerankers.interface import Candidate, RerankRequest
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rerankers.interface import Ranking

REQUESTS = [RerankRequest(f"q{q}", "?", (Candidate(f"q{q}", "d", "text", 1.0),)) for q in range(400)]
SERVICE_SECONDS = 0.1


class Steady(Reverse):
    """Takes a tenth of a second a call on the clock of the test."""

    now = 0.0

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        type(self).now += SERVICE_SECONDS
        return super().rerank(requests, clock)


def rows_at(load: dict[str, Any]) -> list[QueryRow]:
    """Return what is measured of 400 requests."""
    Steady.now = 0.0
    protocol = Protocol(mode="served", served=Served.model_validate(load))
    clock = StageClock(now=lambda: Steady.now)
    calls = serve([Steady()], REQUESTS, protocol, clock, frozenset(), wait=lambda _: None)
    return [
        QueryRow(
            query_id=call.rankings[0].query_id,
            repeat=call.repeat,
            session=0,
            total_seconds=call.total_seconds,
            stage_seconds={},
            usage={},
            ranking="",
            arrived_seconds=call.arrived_seconds,
            queued_seconds=call.queued_seconds,
        )
        for call in calls
    ]


def searched(slo: Slo, arrivals: str) -> dict[float, Tried]:
    """Every rate that the search tries, in its order."""
    tried: dict[float, Tried] = {}
    while (rate := next_rate(1 / SERVICE_SECONDS, tried)) is not None:
        tried[rate] = Tried.of(rows_at({"rate": rate, "arrivals": arrivals}), slo)
    return tried


def test_with_even_arrivals_the_highest_load_is_the_capacity_of_the_server() -> None:
    tried = searched(Slo.model_validate("p95 < 0.15 s"), "fixed")
    kept, missed = highest_kept(tried)
    assert kept is not None
    assert missed is not None
    assert kept <= 1 / SERVICE_SECONDS * 1.01 < missed <= 1.11 * kept
    assert len(tried) <= 6


def test_with_random_arrivals_the_highest_load_is_that_of_an_md1_queue() -> None:
    """P(wait <= t) of M/D/1 (Erlang): at 0.1 s a request, p95 stays below 0.3 s up to about 6 a second."""
    kept, missed = highest_kept(searched(Slo.model_validate("p95 < 300 ms"), "poisson"))
    assert kept is not None
    assert missed is not None
    below, above = (_md1_within(0.2, rate) for rate in (0.85 * kept, 1.15 * missed))
    assert below > 0.95 > above


def _md1_within(seconds: float, rate: float) -> float:
    """Probability that a request waits no longer, by Erlang's formula."""
    load, whole = rate * SERVICE_SECONDS, math.floor(seconds / SERVICE_SECONDS)
    terms = (
        (-rate * (seconds - k * SERVICE_SECONDS)) ** k
        / math.factorial(k)
        * math.exp(rate * (seconds - k * SERVICE_SECONDS))
        for k in range(whole + 1)
    )
    return (1 - load) * sum(terms)


def test_an_slo_below_the_time_of_one_request_is_kept_by_no_load() -> None:
    tried = searched(Slo.model_validate("p95 < 0.05 s"), "fixed")
    assert highest_kept(tried)[0] is None
    assert len(tried) <= 7


def test_a_load_beyond_the_capacity_is_not_kept_however_few_requests_there_are() -> None:
    rows = rows_at({"rate": 20.0, "arrivals": "fixed"})[:12]
    assert max(row.total_seconds for row in rows) < 1.0
    assert not keeps_up(rows)
    assert keeps_up(rows_at({"rate": 9.0, "arrivals": "fixed"}))


@pytest.mark.parametrize(
    ("text", "percentile", "seconds"), [("p95 < 0.5 s", 95, 0.5), ("p99.9<300ms", 99.9, 0.3)]
)
def test_an_slo_is_written_as_people_write_it(text: str, percentile: float, seconds: float) -> None:
    slo = Slo.model_validate(text)
    assert slo.percentile == percentile
    assert slo.seconds == pytest.approx(seconds)
    assert Slo.model_validate(str(slo)) == slo


@pytest.mark.parametrize("text", ["95 < 0.5", "p95 > 0.5 s", "p100 < 1 s", "p95 < 0 s", "mean < 1 s"])
def test_what_is_no_slo_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Slo.model_validate(text)


def test_few_requests_for_a_percentile_are_few() -> None:
    slo = Slo.model_validate("p95 < 1 s")
    assert (is_few(199, slo), is_few(200, slo)) == (True, False)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a system of one's own that takes microseconds, and return its name."""
    (tmp_path / "quick.py").write_text(
        "from rerankers.baselines import Reverse\n\n\nclass Quick(Reverse):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return "quick:Quick"


def go(path: Path, folder: Path) -> list[str]:
    """Run an experiment and return the labels of its cells."""
    experiment, config = load_experiment(path)
    assert run(experiment, config, folder).exit_status == 0
    return [cell.record.system.label for cell in read_results(folder).cells]


def test_a_sweep_measures_each_system_at_each_rate_and_the_first_stage_once(
    quick: str, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    served = {"rate": [2000.0, 4000.0], "slo": "p95 < 0.000000001 s"}
    systems = ["first-stage", {"name": quick, "label": "Quick"}]
    path = write_experiment(rerankers=systems, protocol={"mode": "served", "served": served})
    assert go(path, tmp_path / "out") == [
        "first-stage",
        "Quick, 1 client",
        "Quick, 2000/s",
        "Quick, 4000/s",  # and no further rate, for no load keeps such an SLO
    ]


def test_a_search_is_part_of_the_run_and_the_same_run_again_measures_nothing(
    quick: str, write_experiment: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = {"mode": "served", "served": {"slo": "p95 < 10 s"}, "repeats": 3}
    path = write_experiment(queries=8, rerankers={"name": quick, "label": "Quick"}, protocol=protocol)
    labels = go(path, tmp_path / "out")
    assert labels[0] == "Quick, 1 client"
    assert len({*labels}) == len(labels) > 2
    error_output = capsys.readouterr().err
    assert "Quick: keeps p95 < 10 s up to" in error_output or "Quick: no load keeps" in error_output
    assert "24 requests are few for p95" in error_output
    assert go(path, tmp_path / "out") == labels
    for cell in read_results(tmp_path / "out").cells:
        assert len(cell.record.sessions) == 1
        assert cell.record.protocol.served is not None
        assert str(cell.record.protocol.served.slo) == "p95 < 10 s"


def test_clients_and_a_search_exclude_each_other(write_experiment: Callable[..., Path]) -> None:
    served = {"slo": "p95 < 1 s", "rate": 1.0, "concurrency": [1, 2]}
    with pytest.raises(InputError, match="exclude each other"):
        load_experiment(write_experiment(protocol={"mode": "served", "served": served}))
