"""On a Ray cluster of two nodes an experiment gives what it gives here, whatever becomes of a worker."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.executors import ray_cluster
from benchmarks.executors.local import Outcome, run
from benchmarks.executors.ray import Gathering, _device, _shards, on_cluster
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.pipeline import freeze_pool
from benchmarks.results.store import read_results
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUERIES = 8
MINE = '''
import json, os, random, signal, time
from pathlib import Path

import ray

from rerankers.interface import Capabilities, Cost, Ranking, Reranker


class Mine(Reranker):
    """Shuffles by the generator that everybody shares, and notes when and where.

    With `dies` its process is killed at query q5, once; with `leaves` its node, once, unless it has this id.
    """

    def __init__(
        self, *, seed: int = 0, dies: bool = False, fails: bool = False, leaves: str | None = None
    ) -> None:
        self.seed = seed
        self.dies, self.fails, self.leaves = dies, fails, leaves

    def rerank(self, requests, clock):
        started = time.time()
        ids = [request.query_id for request in requests]
        node = ray.get_runtime_context().get_node_id()
        if self.leaves not in (None, node) and not Path("left").exists():
            Path("left").touch()
            os.kill(os.getppid(), signal.SIGKILL)  # Ray's own process on that node
            os.kill(os.getpid(), signal.SIGKILL)
        if self.dies and "q5" in ids and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails and "q5" in ids:
            raise ValueError("no\\nway")
        time.sleep(0.02)
        counts = [len(request.candidates) for request in requests]
        orders = [random.sample(range(count), count) for count in counts]
        rankings = [Ranking.of(request, order, Cost()) for request, order in zip(requests, orders)]
        note = [node, self.seed, started, os.environ.get("CUDA_VISIBLE_DEVICES")]
        with Path("notes.jsonl").open("a") as file:
            file.write(json.dumps(note) + "\\n")
        return rankings


class OnCpu(Mine):
    """The same without a GPU."""

    @classmethod
    def capabilities(cls, options):
        return Capabilities(may_use_gpu=False)
'''


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes on this machine, each with one CPU and what Ray takes for a GPU."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a reranker of its own in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def go(path: Path, folder: Path, *, is_local: bool = False) -> Outcome:
    experiment, config = load_experiment(path)
    return run(experiment, config, folder, None if is_local else on_cluster)


def rankings(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("*/ranking.trec")}


def notes(here: Path) -> list[Any]:
    return [json.loads(line) for line in (here / "notes.jsonl").read_text().splitlines()]


def mine(**options: Any) -> dict[str, Any]:
    return {"name": "mine:Mine", "label": f"{options}", "options": options}


@pytest.mark.filterwarnings("default")
def test_two_nodes_give_the_rankings_of_a_local_run_bit_for_bit_and_a_lost_shard_is_run_again(
    two_nodes: Any, here: Path, write_experiment: Callable[..., Path], tiny_classifier: str
) -> None:
    systems = [
        {"name": "cross-encoder", "options": {"model": tiny_classifier, "device": "cpu"}},
        mine(seed=1, dies=True),
        mine(seed=2, fails=True),
    ]
    protocol = {"mode": "throughput", "batch_size": 2, "repeats": 2, "warmup": 0, "threads": 1}
    path = write_experiment(queries=QUERIES, depth=10, rerankers=systems, protocol=protocol)
    assert go(path, here / "ray").exit_status == 1
    assert (here / "died").exists()
    assert go(path, here / "local", is_local=True).exit_status == 1
    results = read_results(here / "ray")
    split, lost, failed = results.cells
    for cell in (split, lost):
        assert cell.record.status == "done"
        counts = Counter((row.query_id, row.repeat) for row in cell.rows)
        assert counts == {(f"q{q}", repeat): 1 for q in range(QUERIES) for repeat in range(2)}
        assert len(cell.record.sessions) == 2  # two shards
    local = rankings(here / "local")
    assert {cell.record.cell: rankings(here / "ray")[cell.record.cell] for cell in (split, lost)} == {
        cell.record.cell: local[cell.record.cell] for cell in (split, lost)
    }
    assert (failed.record.status, failed.record.error) == ("failed", "ValueError: no way")
    assert set(failed.rankings) == {"q0", "q1", "q2", "q3"}  # what was ranked before is kept
    write_experiment(queries=QUERIES, depth=10, rerankers=systems[:1], protocol=protocol)
    (here / "ray" / split.record.cell / "queries.jsonl").write_bytes(
        b"".join(row.line() for row in split.rows[:5])
    )
    record = here / "ray" / split.record.cell / "record.json"
    record.write_text(record.read_text().replace('"done"', '"running"'))
    assert go(path, here / "ray").exit_status == 0  # what is missing is measured, in the order of the queries
    assert rankings(here / "ray")[split.record.cell] == local[split.record.cell]


@pytest.mark.filterwarnings("default")
def test_latency_cells_own_their_gpu(
    two_nodes: Any, here: Path, write_experiment: Callable[..., Path]
) -> None:
    path = write_experiment(
        queries=QUERIES, rerankers=[mine(seed=seed) for seed in range(3)], protocol={"warmup": 0}
    )
    assert go(path, here / "ray").exit_status == 0
    assert all(len(cell.record.sessions) == 1 for cell in read_results(here / "ray").cells)
    by_node: dict[str, list[tuple[float, float]]] = {}
    for node, seed, started, gpus in notes(here):
        by_node.setdefault(node, []).append((started, seed))
        assert gpus == "0"  # the one of its node
    assert len(by_node) <= 2
    for calls in by_node.values():  # cells of one node follow one another
        seeds = [seed for seed, _ in groupby(seed for _, seed in sorted(calls))]
        assert len(seeds) == len(set(seeds))


@pytest.mark.filterwarnings("default")
def test_a_lost_machines_shard_is_run_again_elsewhere(
    two_nodes: Any, here: Path, write_experiment: Callable[..., Path]
) -> None:
    ray = pytest.importorskip("ray")
    spared = ray.get_runtime_context().get_node_id()
    protocol = {"mode": "throughput", "batch_size": 2, "warmup": 0}
    path = write_experiment(
        queries=QUERIES, depth=10, rerankers=[mine(seed=1, leaves=spared)], protocol=protocol
    )
    try:
        assert go(path, here / "ray").exit_status == 0
    finally:
        two_nodes.add_node(num_cpus=1, num_gpus=1)
    assert (here / "left").exists()
    assert {note[0] for note in notes(here)} == {spared}
    assert go(path, here / "local", is_local=True).exit_status == 0
    assert rankings(here / "ray") == rankings(here / "local")
    (cell,) = read_results(here / "ray").cells
    assert len(cell.record.sessions) == 2


@pytest.mark.filterwarnings("default")
def test_without_a_node_that_can_run_them_tasks_are_given_up(
    two_nodes: Any,
    here: Path,
    write_experiment: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The largest node leaves for good, and takes the only place for a task of its size with it."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray_cluster, "GRACE_SECONDS", 2.0)
    monkeypatch.setattr(ray_cluster, "POLL_SECONDS", 1.0)
    spared = ray.get_runtime_context().get_node_id()
    two_nodes.add_node(num_cpus=3)
    systems = [
        {"name": "mine:OnCpu", "label": f"{seed}", "options": {"leaves": spared, "seed": seed}}
        for seed in range(2)
    ]
    path = write_experiment(queries=QUERIES, rerankers=systems, protocol={"warmup": 0})
    assert go(path, here / "ray").exit_status == 1
    printed = capfd.readouterr()
    errors = [cell.record.error or "" for cell in read_results(here / "ray").cells]
    assert len(errors) == 2
    assert all("no node with 3 CPUs and 0 GPUs is left" in error for error in errors)
    assert len([line for line in printed.err.splitlines() if "waiting 2 seconds" in line]) == 1
    assert "(raylet)" not in printed.out + printed.err


@pytest.mark.parametrize("address", ["nonsense", "head:", ":6379", "head:port"])
def test_what_is_no_address_of_a_cluster_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"RAY_ADDRESS={address}: is no address. Write HOST:PORT"):
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
    assert len(done.stdout.splitlines()) == 1


def test_queries_are_split_between_batches_and_only_where_that_changes_nothing(
    write_experiment: Callable[..., Path], tmp_path: Path, tiny_encoder: str
) -> None:
    def shards(reranker: Any, *overrides: str) -> list[tuple[str, ...]]:
        path = write_experiment(queries=QUERIES, rerankers=reranker)
        experiment, _ = load_experiment(path, [f"protocol.{each}" for each in overrides])
        (cell,) = plan(experiment)
        pool = freeze_pool(cell.pool, tmp_path / "pools", store_text=True)
        return list(_shards([Gathering(experiment, cell, pool, tmp_path / "pools")], pool, 2))

    whole = tuple(f"q{q}" for q in range(QUERIES))
    batched = ["mode=throughput", "batch_size=3"]
    assert shards("reverse", *batched) == [whole[:3], whole[3:]]
    assert shards("reverse") == [whole]  # latency is measured on one device
    prepares = {"name": "embedding", "options": {"model": tiny_encoder, "device": "cpu"}}
    assert shards(prepares, *batched) == [whole]


def test_a_task_owns_a_gpu_or_a_node(write_experiment: Callable[..., Path], tiny_encoder: str) -> None:
    nodes = [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 16.0}, {"CPU": 4.0}]

    def device(name: str, **options: Any) -> tuple[dict[str, int], int]:
        path = write_experiment(rerankers=[{"name": name, "options": options}])
        return _device(plan(load_experiment(path)[0]), nodes)

    a_gpu, a_node = ({"num_gpus": 1, "num_cpus": 4}, 4), ({"num_cpus": 16}, 2)
    assert device("embedding", model=tiny_encoder) == a_gpu
    assert device("embedding", model=tiny_encoder, device="cpu") == a_node
    assert device("rankgpt", model="m", backend="transformers") == a_gpu
    assert device("rankgpt", model="m") == a_node  # an endpoint has its own
    assert device("first-stage") == a_node
    nodes[:] = [{}]
    with pytest.raises(InputError, match="no node of the Ray cluster has CPUs"):
        device("first-stage")


def test_a_budget_and_a_cluster_exclude_each_other(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(InputError, match="only one process can keep a budget"):
        go(write_experiment(budget=1.0), tmp_path / "out")
