"""Served requests wait their turn, and their latency says so."""

from __future__ import annotations

import threading
import time
from collections import UserList
from itertools import pairwise
from statistics import mean
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.measuring.arrivals import scheduled
from benchmarks.measuring.served import serve
from benchmarks.results.record import Protocol, Served, requests_per_second
from benchmarks.results.store import read_results
from rerankers.baselines import Reverse
from rerankers.errors import InputError
from rerankers.interface import Candidate, RerankRequest
from rerankers.options import MethodOptions
from rerankers.registry import METHODS
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.measuring.protocol import Call
    from rerankers.interface import Ranking

REQUESTS = [RerankRequest(f"q{q}", "?", (Candidate(f"q{q}", "d", "text", 1.0),)) for q in range(6)]


class Taking(Reverse):
    """Takes three seconds a call on the clock of the test."""

    now = 0.0

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        type(self).now += 3.0
        return super().rerank(requests, clock)


class RemoteOptions(MethodOptions):
    implementation: ClassVar[str] = f"{__name__}:Remote"

    @property
    def is_remote(self) -> bool:
        return True


class Remote(Reverse):
    """Answers after 30 milliseconds, from elsewhere, one request at a time for each connection."""

    options_model = RemoteOptions
    under_way = 0
    most = 0
    lock = threading.Lock()

    def connection(self) -> Remote:
        return Remote()

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        with self.lock:
            Remote.under_way += 1
            Remote.most = max(Remote.most, Remote.under_way)
        time.sleep(0.03)
        with self.lock:
            Remote.under_way -= 1
        return super().rerank(requests, clock)


def served(load: dict[str, Any], done: frozenset[tuple[str, int]] = frozenset(), **more: Any) -> list[Call]:
    """Return the measurements of six requests, and the seconds that were waited for arrivals."""
    Taking.now = 0.0
    protocol = Protocol(mode="served", served=Served(**load), **more)
    clock = StageClock(now=lambda: Taking.now)
    return list(serve([Taking()], REQUESTS, protocol, clock, done, wait=waited.append))


waited: list[float] = []


def times(calls: list[Call]) -> list[tuple[float | None, float | None, float]]:
    return [(call.arrived_seconds, call.queued_seconds, call.total_seconds) for call in calls]


def test_requests_that_arrive_faster_than_they_are_answered_wait_longer_and_longer() -> None:
    arrive = [(2.0 * q, 1.0 * q, 3.0 + q) for q in range(6)]  # every 2 s, and an answer takes 3 s
    assert times(served({"rate": 0.5, "arrivals": "fixed"})) == arrive


def test_requests_that_arrive_slower_never_wait_and_the_server_does() -> None:
    waited.clear()
    assert times(served({"rate": 0.25, "arrivals": "fixed"})) == [(4.0 * q, 0.0, 3.0) for q in range(6)]
    assert waited == [1.0] * 5


def test_what_waits_is_taken_together_up_to_the_batch_size() -> None:
    calls = served({"rate": 1.0, "arrivals": "fixed"}, batch_size=2)
    assert times(calls) == [
        (0.0, 0.0, 3.0),
        (1.0, 2.0, 5.0),
        (2.0, 1.0, 4.0),  # taken with the one before
        (3.0, 3.0, 6.0),
        (4.0, 2.0, 5.0),
        (5.0, 4.0, 7.0),
    ]


def test_a_client_sends_its_next_request_once_it_has_its_answer() -> None:
    calls = served({"concurrency": 2})
    assert times(calls)[:4] == [(0.0, 0.0, 3.0), (0.0, 3.0, 6.0), (3.0, 3.0, 6.0), (6.0, 3.0, 6.0)]
    assert [call.rankings[0].query_id for call in calls] == [f"q{q}" for q in range(6)]


def test_clients_send_no_more_requests_than_there_are() -> None:
    calls = served({"concurrency": 4}, batch_size=4)
    assert [call.rankings[0].query_id for call in calls] == [f"q{q}" for q in range(6)]
    assert times(calls)[4:] == [(3.0, 0.0, 3.0)] * 2  # two of the four clients find nothing left


@pytest.mark.parametrize("clients", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("size", [1, 2, 4, 5, 8])
def test_every_request_is_answered_once_whatever_the_clients_and_the_batch_size(
    clients: int, size: int
) -> None:
    calls = served({"concurrency": clients}, batch_size=size)
    assert [call.rankings[0].query_id for call in calls] == [f"q{q}" for q in range(6)]
    assert max(call.total_seconds for call in calls) <= 3.0 * -(-clients // min(size, clients)) + 3.0


def test_a_request_waits_for_all_stages_of_those_it_is_ranked_with() -> None:
    calls = served({"concurrency": 3}, batch_size=3)
    for call in calls:
        (ranking,) = call.rankings
        assert sum(ranking.stage_seconds.values()) <= call.total_seconds


def test_a_resumed_run_begins_with_what_is_missing_and_an_empty_queue() -> None:
    done = frozenset((f"q{q}", 0) for q in range(4))
    assert times(served({"rate": 0.5, "arrivals": "fixed"}, done)) == [(0.0, 0.0, 3.0), (2.0, 1.0, 4.0)]
    assert served({"concurrency": 1}, done | {("q4", 0), ("q5", 0)}) == []


def test_poisson_arrivals_have_the_rate_and_the_spread_of_exponential_gaps_and_follow_the_seed() -> None:
    load = Served(rate=4.0)
    arrivals = scheduled(load, 20_000, "0 0")
    gaps = [after - before for before, after in pairwise(arrivals)]
    assert mean(gaps) == pytest.approx(1 / 4, rel=0.03)
    assert mean(gap**2 for gap in gaps) == pytest.approx(2 / 4**2, rel=0.06)  # of an exponential: 2 / rate²
    assert arrivals[:9] == scheduled(load, 9, "0 0") != scheduled(load, 9, "1 0")


def test_an_endpoint_gets_as_many_requests_at_once_as_there_are_clients(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "remote", f"{__name__}:RemoteOptions")
    Remote.most = 0
    protocol = {"mode": "served", "served": {"concurrency": 4}, "warmup": 0}
    experiment, config = load_experiment(write_experiment(queries=12, rerankers="remote", protocol=protocol))
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    assert Remote.most == 4
    (cell,) = read_results(tmp_path / "out").cells
    assert {row.query_id for row in cell.rows} == {f"q{q}" for q in range(12)}
    answered = requests_per_second(cell.rows)
    assert answered is not None
    assert 1 / 0.03 < answered <= 4 / 0.03  # more than one client gets, no more than four do


def test_a_cascade_over_an_endpoint_gets_as_many_requests_at_once_too(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "remote", f"{__name__}:RemoteOptions")
    Remote.most = 0
    cascade = {"name": "cascade", "options": {"steps": [{"name": "reverse"}, {"name": "remote"}]}}
    protocol = {"mode": "served", "served": {"concurrency": 4}, "warmup": 0}
    path = write_experiment(queries=12, rerankers=cascade, protocol=protocol, count_operations=2)
    experiment, config = load_experiment(path)
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    assert Remote.most == 4
    (cell,) = read_results(tmp_path / "out").cells
    assert cell.record.operations is not None
    assert cell.record.operations.queries == 0  # counting would call the endpoint, and pay, once more


def test_an_open_loop_sends_to_an_endpoint_on_time_whatever_is_under_way() -> None:
    protocol = Protocol(mode="served", served=Served(rate=100.0, arrivals="fixed", concurrency=6))
    calls = list(serve([Remote() for _ in range(6)], REQUESTS, protocol, StageClock(), frozenset()))
    arrived = sorted(call.arrived_seconds or 0.0 for call in calls)
    assert arrived == pytest.approx([0.01 * q for q in range(6)])
    assert all(call.total_seconds >= 0.03 for call in calls)


@pytest.mark.parametrize("load", [{"concurrency": 3}, {"rate": 1000.0}])
def test_what_is_sent_to_an_endpoint_is_read_then_and_not_held(load: dict[str, Any]) -> None:
    class Read(UserList[RerankRequest]):
        looks = 0

        def __getitem__(self, place: Any) -> Any:
            Read.looks += 1
            return super().__getitem__(place)

    requests = Read(RerankRequest(f"q{q}", "?", REQUESTS[0].candidates) for q in range(40))
    protocol = Protocol(mode="served", served=Served(**load))
    ahead = []
    for answered, _ in enumerate(
        serve([Remote() for _ in range(3)], requests, protocol, StageClock(), frozenset()), 1
    ):
        ahead.append(Read.looks - len(requests) - answered)  # each was looked at once, for its query id
    assert len(ahead) == 40
    assert 0 < max(ahead) <= 2 * 3


def test_served_cells_say_when_requests_arrived_and_others_do_not(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    load = {"rate": 500.0}
    for mode, how in (("served", {"served": load}), ("latency", {})):
        path = write_experiment(rerankers="reverse", protocol={"mode": mode, **how})
        experiment, config = load_experiment(path)
        run(experiment, config, tmp_path / mode)
    (cell,) = read_results(tmp_path / "served").cells
    assert cell.record.protocol.served == Served(rate=500.0)
    for row in cell.rows:
        assert row.arrived_seconds is not None
        assert row.queued_seconds is not None
        assert 0 <= row.queued_seconds < row.total_seconds
    (other,) = read_results(tmp_path / "latency").cells
    assert requests_per_second(other.rows) is None
    assert b"arrived" not in (tmp_path / "latency" / other.record.cell / "queries.jsonl").read_bytes()


def test_another_load_is_another_cell(write_experiment: Callable[..., Path]) -> None:
    names = set()
    for load in ({"rate": 1.0}, {"rate": 2.0}, {"concurrency": 2}):
        path = write_experiment(rerankers="reverse", protocol={"mode": "served", "served": load})
        names.add(plan(load_experiment(path)[0])[0].name)
    assert len(names) == 3


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"mode": "served"}, "served goes with served"),
        ({"served": {"rate": 1.0}}, "served goes with served"),
        ({"mode": "served", "served": {}}, "say how requests arrive"),
        ({"mode": "served", "served": {"rate": 1.0}, "interleave": True}, "leave interleave out"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused(
    write_experiment: Callable[..., Path], protocol: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_experiment(write_experiment(protocol=protocol))
