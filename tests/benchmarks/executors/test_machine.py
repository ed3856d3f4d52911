"""On one machine, a cell without a device of its own is measured alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.executors.machine import MachineLock, runs_alone
from benchmarks.results.record import Protocol

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


def test_measurements_that_share_a_machine_exclude_those_that_do_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with MachineLock(False, path) as shared, MachineLock(False, path) as other:
        assert shared.acquire(may_wait=False)
        assert other.acquire(may_wait=False)
        with MachineLock(True, path) as alone:
            assert not alone.acquire(may_wait=False)
    with MachineLock(True, path) as alone:
        assert alone.acquire(may_wait=False)
        for is_exclusive in (True, False):
            with MachineLock(is_exclusive, path) as other:
                assert not other.acquire(may_wait=False)
    with MachineLock(True, path) as next_one:
        assert next_one.acquire(may_wait=True)


def test_a_lock_of_another_user_can_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch(mode=0o444)
    with MachineLock(True, path) as lock:
        assert lock.acquire(may_wait=False)


def test_only_latency_on_a_processor_runs_alone() -> None:
    latency, throughput = Protocol(), Protocol(mode="throughput")
    assert runs_alone(latency, {"num_cpus": 2})
    assert not runs_alone(latency, {"num_cpus": 2, "num_gpus": 1})
    assert not runs_alone(throughput, {"num_cpus": 2})
