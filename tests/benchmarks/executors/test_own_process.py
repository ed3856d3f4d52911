"""A cell in a process of its own: its memory is its own, and its failures come back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.results.store import read_results
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWN = '''
"""Rerankers that take memory, fail, or kill their process."""

import os

from rerankers import Cost, MethodOptions, Ranking, Reranker
from rerankers.errors import ModelError


class HungryOptions(MethodOptions):
    """Options of a reranker that takes memory."""

    way: str = "well"
    """How it ends."""


class Hungry(Reranker):
    """Takes 64 MiB."""

    options_model = HungryOptions

    def __init__(self, options: HungryOptions) -> None:
        self.way = options.way
        self.memory = bytearray(b"x") * 2**26

    def rerank(self, requests, clock):
        if self.way == "dies":
            os._exit(9)
        if self.way == "fails":
            raise ModelError("no luck")
        return [Ranking.of(r, [*range(len(r.candidates))], Cost()) for r in requests]
'''

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory from /proc")


@pytest.fixture
def experiment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "hungry_reranker.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "hungry_reranker:Hungry"


def test_memory_is_the_systems_own_whatever_this_process_holds(
    experiment_file: str, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    held = bytearray(b"x") * 2**28  # as a Lucene index would be
    protocol = {"own_process": True}
    experiment, config = load_experiment(
        write_experiment(rerankers=["first-stage", experiment_file], protocol=protocol)
    )
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    light, hungry = read_results(tmp_path / "out").cells
    assert len(held) == 2**28
    for cell in (light, hungry):
        (session,) = cell.record.sessions
        assert session.executor is not None
        assert session.executor.is_own_process
        assert len(cell.rows) == 3
        assert session.peak_host_bytes is not None
        assert session.peak_host_bytes < 2**28
    taken = [cell.record.sessions[0].host_bytes for cell in (light, hungry)]
    assert taken[0] is not None
    assert taken[1] is not None
    assert taken[0] < 2**24
    assert 2**26 <= taken[1] < 2**26 + 2**24


def test_in_a_shared_process_memory_is_counted_from_what_was_there(
    experiment_file: str, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    held = bytearray(b"x") * 2**28
    experiment, config = load_experiment(write_experiment(rerankers=[experiment_file]))
    assert run(experiment, config, tmp_path / "out").exit_status == 0
    (session,) = read_results(tmp_path / "out").cells[0].record.sessions
    assert session.executor is not None
    assert not session.executor.is_own_process
    assert session.peak_host_bytes is not None
    assert session.peak_host_bytes > len(held)
    assert session.host_bytes is not None
    assert 2**26 <= session.host_bytes < 2**26 + 2**24


@pytest.mark.parametrize(("way", "reason"), [("fails", "no luck"), ("dies", "ended with status 9")])
def test_a_failure_in_the_other_process_is_the_cells_result(
    experiment_file: str, way: str, reason: str, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    rerankers = [{"name": experiment_file, "options": {"way": way}}, "reverse"]
    path = write_experiment(rerankers=rerankers, protocol={"own_process": True})
    experiment, config = load_experiment(path)
    outcome = run(experiment, config, tmp_path / "out")
    assert outcome.exit_status == 1
    failed, done = read_results(tmp_path / "out").cells
    assert (failed.record.status, done.record.status) == ("failed", "done")
    assert reason in (failed.record.error or "")
    assert failed.record.pool == done.record.pool


def test_systems_in_turn_share_a_process(write_experiment: Callable[..., Path]) -> None:
    protocol = {"own_process": True, "interleave": True}
    with pytest.raises(InputError, match="share a process"):
        load_experiment(write_experiment(protocol=protocol))
