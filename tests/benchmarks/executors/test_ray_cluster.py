"""The connection to a cluster: addresses that are wrong, and losses, are a line each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.executors import ray_cluster
from benchmarks.results.store import read_results
from rerankers.errors import InputError
from tests.benchmarks.executors.shuffling import QUERIES, mine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("address", ["nonsense", "head:", ":6379", "head:port"])
def test_what_is_no_address_of_a_cluster_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"RAY_ADDRESS={address}: not an address"):
        ray_cluster.connect(pytest.importorskip("ray"))


def test_a_closed_port_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(InputError, match=r"cannot connect \(Connection refused\)") as error:
        ray_cluster.connect(pytest.importorskip("ray"))
    assert "\n" not in str(error.value)


def test_a_port_of_another_program_is_one_line_after_seconds(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray_cluster, "PROBE_SECONDS", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(InputError, match=r"no Ray cluster can be used there \(no answer within 4 sec"):
            ray_cluster.connect(ray)
    assert capfd.readouterr() == ("", "")


def test_a_private_cluster_is_said_and_a_lost_worker_is_a_line_each_time(
    here: Path, write_experiment: Callable[..., Path]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    path = write_experiment(queries=QUERIES, rerankers=[mine(dies=True)], protocol={"warmup": 0})
    command = [sys.executable, "-m", "benchmarks.cli", "run", str(path), "--executor", "ray"]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    done = subprocess.run(
        [*command, "--out", str(here / "out")], env=environment, capture_output=True, text=True, check=True
    )
    assert "a private one was started on this machine" in done.stderr
    assert (here / "died").exists()
    assert len([line for line in done.stderr.splitlines() if "worker died" in line]) == 1
    assert "raylet" not in done.stdout + done.stderr
    assert done.stdout.count("cells done") == 1


def test_a_lost_head_node_is_one_line_and_bounded(here: Path, write_experiment: Callable[..., Path]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    psutil = pytest.importorskip("psutil")
    path = write_experiment(queries=QUERIES, rerankers=[mine(pause=30.0)], protocol={"warmup": 0})
    patient = (
        "import sys; from benchmarks.cli.main import main; from benchmarks.executors import ray_cluster;"
        "ray_cluster.POLL_SECONDS = ray_cluster.HEAD_SECONDS = 1.0; sys.exit(main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        patient,
        "run",
        str(path),
        "--executor",
        "ray",
        "--out",
        str(here / "out"),
    ]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stderr is not None
        lines = []
        for line in driver.stderr:
            lines.append(line)
            if f"{QUERIES} queries on" in line:  # it measures
                for process in psutil.Process(driver.pid).children(recursive=True):
                    if process.name() == "gcs_server":
                        process.kill()
        assert driver.wait() == 1
    messages = [line for line in lines if "head node" in line]
    assert len(messages) == 2
    assert "does not answer; waiting 1 seconds" in messages[0]
    assert "is lost. Start the cluster again. Then run the same command again" in messages[1]
    assert lines[-1] == messages[1]  # of Ray's own, nothing
    (cell,) = read_results(here / "out").cells
    assert cell.record.status == "failed"
