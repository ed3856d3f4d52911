"""How time is measured: warm-up, threads, interleaving, and what is noted about the machine meanwhile."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from benchmarks.executors.local import Outcome, run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.measuring import conditions
from benchmarks.measuring.conditions import Conditions, noise, pin_threads
from benchmarks.measuring.protocol import timing, warm_up
from benchmarks.results.record import Protocol
from benchmarks.results.store import read_results
from rerankers.baselines import Reverse
from rerankers.errors import ModelError
from rerankers.interface import Candidate, Ranking, RerankRequest
from rerankers.options import MethodOptions
from rerankers.registry import METHODS
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

calls: list[tuple[str, str]] = []
alive: list[weakref.ref[Noted]] = []


class NotedOptions(MethodOptions):
    implementation: ClassVar[str] = f"{__name__}:Noted"

    name: str = "a"
    fail_on: str | None = None


class Noted(Reverse):
    """Turns the order around and notes who was asked what; `fail_on` raises at that query."""

    def __init__(self, options: NotedOptions) -> None:
        self.name, self.fail_on = options.name, options.fail_on
        alive.append(weakref.ref(self))

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        calls.extend((self.name, request.query_id) for request in requests)
        if any(request.query_id == self.fail_on for request in requests):
            raise ModelError("failed") from ValueError("the cause")
        return super().rerank(requests, clock)


@pytest.fixture(autouse=True)
def noted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    alive.clear()
    monkeypatch.setitem(METHODS, "noted", f"{__name__}:NotedOptions")


def systems(*options: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "noted", "label": option["name"], "options": option} for option in options]


def go(path: Path, folder: Path, *overrides: str) -> Outcome:
    experiment, config = load_experiment(path, overrides)
    return run(experiment, config, folder)


def clock_of(seconds: Iterable[float]) -> StageClock:
    """Return a clock on which calls (two readings each, stages not read) take the given times."""
    times, now = iter(seconds), 0.0
    is_start = False

    def read() -> float:
        nonlocal now, is_start
        is_start = not is_start
        now += 0.0 if is_start else next(times)
        return now

    return StageClock(now=read)


class Silent(Reverse):
    """Reads no clock."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        return super().rerank(requests, StageClock())


def requests(count: int) -> list[RerankRequest]:
    return [
        RerankRequest(f"q{q}", "?", (Candidate(f"q{q}", "d", "text", 1.0),) if q else ())
        for q in range(count)
    ]


def test_a_fixed_warm_up_takes_the_first_queries_that_have_candidates() -> None:
    seconds, ended = warm_up(Silent(), requests(9), Protocol(warmup=2), clock_of([3.0, 1.0]))
    assert (seconds, ended) == ((3.0, 1.0), "fixed")


def test_a_stable_warm_up_ends_when_the_last_five_calls_agree_within_a_tenth() -> None:
    times = [9.0, 5.0, 1.2, 1.0, 1.0, 1.05, 0.96, 1.02, 7.0]
    seconds, ended = warm_up(Silent(), requests(3), Protocol(warmup="stable"), clock_of(times))
    assert ended == "stable"
    assert seconds == pytest.approx(times[:8])  # 1.2 is out of the last five only now


def test_a_warm_up_that_never_gets_stable_ends_at_thirty_calls_and_says_so() -> None:
    times = [1.0 + call % 2 for call in range(40)]
    seconds, ended = warm_up(Silent(), requests(3), Protocol(warmup="stable"), clock_of(times))
    assert ended == "maximum"
    assert len(seconds) == 30


def test_without_candidates_there_is_nothing_to_warm_up_on() -> None:
    assert warm_up(Silent(), requests(1), Protocol(warmup="stable"), clock_of([])) == ((), "stable")


def test_how_the_warm_up_ended_is_recorded(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    go(write_experiment(rerankers="noted", protocol={"warmup": "stable"}), tmp_path / "out")
    (session,) = read_results(tmp_path / "out").cells[0].record.sessions
    assert session.warmup_ended in ("stable", "maximum")
    assert 5 <= len(session.warmup_seconds) <= 30


def test_a_warm_up_is_a_number_or_stable(write_experiment: Callable[..., Path]) -> None:
    with pytest.raises(Exception, match="warmup"):
        load_experiment(write_experiment(protocol={"warmup": "long"}))


def test_threads_are_held_to_the_number_asked_for_and_recorded(
    write_experiment: Callable[..., Path], tmp_path: Path, tiny_classifier: str
) -> None:
    import torch

    before = torch.get_num_threads()
    system = {"name": "cross-encoder", "options": {"model": tiny_classifier}}
    try:
        go(write_experiment(rerankers=system, protocol={"threads": 2, "warmup": 0}), tmp_path / "out")
        assert torch.get_num_threads() == 2
        (session,) = read_results(tmp_path / "out").cells[0].record.sessions
        assert session.environment["threads"]["pinned"] == 2
    finally:
        torch.set_num_threads(before)


def test_threads_follow_the_environment_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert pin_threads(None) == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert pin_threads(None) >= 1
    torch.set_num_threads(before)


def test_what_the_timing_costs_is_measured(clock: StageClock) -> None:
    costs = timing(clock, samples=3)  # every reading of this clock takes one second
    assert costs["clock_read_seconds"] == 1.0
    assert costs["stage_overhead_seconds"] == 3.0
    assert 0 < timing(StageClock())["clock_resolution_seconds"] < 0.001  # type: ignore[operator]


def test_what_the_timing_costs_is_recorded_and_no_line_without_meaning_is_printed(
    write_experiment: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(write_experiment(rerankers="noted"), tmp_path / "out")
    assert "µs a stage" not in capsys.readouterr().err


def test_systems_are_interleaved_query_by_query(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    protocol = {"interleave": True, "warmup": 1, "repeats": 2}
    path = write_experiment(rerankers=systems({"name": "a"}, {"name": "b"}), protocol=protocol)
    assert go(path, tmp_path / "out").exit_status == 0
    turns = [(name, f"q{q}") for _ in range(2) for q in range(3) for name in ("a", "b")]
    assert calls == [("a", "q0"), ("b", "q0"), *turns]
    for cell in read_results(tmp_path / "out").cells:
        assert [(row.query_id, row.repeat) for row in cell.rows] == [
            (f"q{q}", repeat) for repeat in range(2) for q in range(3)
        ]
        assert cell.record.sessions[0].peak_host_bytes is None  # whose memory it is cannot be told
    assert gc.isenabled()


def test_interleaved_systems_fail_alone_and_stay_at_the_same_query_when_resumed(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    both = systems({"name": "a", "fail_on": "q1"}, {"name": "b"})
    path = write_experiment(rerankers=both, protocol={"interleave": True, "warmup": 0})
    assert go(path, tmp_path / "out").exit_status == 1
    failed, done = read_results(tmp_path / "out").cells
    assert (failed.record.status, list(failed.rankings)) == ("failed", ["q0"])
    assert (done.record.status, list(done.rankings)) == ("done", ["q0", "q1", "q2"])
    (tmp_path / "out" / done.record.cell / "queries.jsonl").write_bytes(b"")  # as if b had been killed
    record = tmp_path / "out" / done.record.cell / "record.json"
    record.write_text(record.read_text().replace('"done"', '"running"'))
    calls.clear()
    go(path, tmp_path / "out")
    assert calls[:3] == [("b", "q0"), ("a", "q1"), ("b", "q1")]  # a waits at q1 for b


def test_interleaving_and_threads_make_another_cell_and_their_absence_the_same_as_ever(
    write_experiment: Callable[..., Path],
) -> None:
    def name(*overrides: str) -> str:
        return plan(load_experiment(write_experiment(rerankers="reverse"), overrides)[0])[0].name

    names = [name(), name("protocol.threads=2"), name("protocol.interleave=true")]
    assert len(set(names)) == 3
    assert set(Protocol().identity()) == {"mode", "warmup", "repeats", "batch_size", "seed"}


def test_a_failed_system_leaves_the_memory_before_the_next_one_loads(
    write_experiment: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rerankbench")  # captured tracebacks would hold it as well
    both = systems({"name": "a", "fail_on": "q1"}, {"name": "b"})
    outcome = go(write_experiment(rerankers=both, protocol={"warmup": 0}), tmp_path / "out")
    assert len(outcome.failures) == 1  # kept, and with it nothing of what failed
    assert [reference() for reference in alive] == [None, None]


def test_the_identity_control_runs_alongside_on_a_cpu(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "CONTROL_EVERY_SECONDS", 0.0)
    go(write_experiment(rerankers="noted", queries=5), tmp_path / "out")
    (cell,) = read_results(tmp_path / "out").cells
    seconds = [row.control_seconds for row in cell.rows]
    assert all(second is not None and 0 < second < 1 for second in seconds)
    (session,) = cell.record.sessions
    assert session.samples[0]["elapsed_seconds"] == 0.0
    assert "load_average" in session.samples[0]
    assert session.device_joules is None


def test_the_control_waits_between_its_turns_and_never_runs_beside_a_gpu() -> None:
    beside_cpu = Conditions(requests(3), StageClock(), has_control=True)
    assert beside_cpu.between_calls() is None  # not yet
    beside_gpu = Conditions(requests(3), StageClock(now=iter(range(10**6)).__next__), has_control=False)
    assert [beside_gpu.between_calls() for _ in range(9)] == [None] * 9


def test_noise_is_how_far_slow_calls_are_from_usual_ones() -> None:
    assert noise([1.0] * 19) is None
    assert noise([1.0] * 100) == 0.0
    assert noise([1.0] * 90 + [1.5] * 10) == pytest.approx(0.5)


def test_samples_of_the_machine_stay_few_however_long_it_measures() -> None:
    seconds = iter(range(0, 10**9, 7))
    watched = Conditions([], StageClock(now=lambda: float(next(seconds))), has_control=True)
    for _ in range(1000):
        watched.between_calls()
    assert 60 <= len(watched.samples) <= 120
    elapsed = [sample["elapsed_seconds"] for sample in watched.samples]
    assert elapsed == sorted(elapsed)
    assert elapsed[-1] > 5000
