"""On a Ray cluster of two nodes an experiment gives what it gives here, whatever becomes of a worker."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.executors import ray_cluster
from benchmarks.results.store import read_results
from rerankers.encoders.store import EmbeddingStore
from rerankers.errors import InputError
from tests.benchmarks.executors.shuffling import QUERIES, executors, go, mine, notes, rankings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """Give a cluster of two nodes on this machine, each with one CPU and what Ray takes for a GPU."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.filterwarnings("default")
def test_two_nodes_give_the_rankings_of_a_local_run_bit_for_bit_and_a_lost_shard_is_run_again(
    two_nodes: Any,
    here: Path,
    write_experiment: Callable[..., Path],
    tiny_classifier: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    systems = [
        {"name": "cross-encoder", "options": {"model": tiny_classifier, "device": "cpu"}},
        mine(seed=1, dies=True),
        mine(seed=2, fails=True),
    ]
    protocol = {"mode": "throughput", "batch_size": 2, "repeats": 2, "warmup": 0, "threads": 1}
    path = write_experiment(queries=QUERIES, depth=10, rerankers=systems, protocol=protocol)
    assert go(path, here / "ray").exit_status == 1
    printed = capfd.readouterr().err
    assert printed.count(f"hits-given-10: cross-encoder: 4 queries on {platform.node()} (") == 2
    assert len([line for line in printed.splitlines() if "worker died" in line]) == 1
    assert (here / "died").exists()
    assert go(path, here / "local", is_local=True).exit_status == 1
    results = read_results(here / "ray")
    split, lost, failed = results.cells
    for cell in (split, lost):
        assert cell.record.status == "done"
        counts = Counter((row.query_id, row.repeat) for row in cell.rows)
        assert counts == {(f"q{q}", repeat): 1 for q in range(QUERIES) for repeat in range(2)}
    assert [executor.name for executor in executors(split.record)] == ["ray", "ray"]  # two shards
    assert len({executor.node for executor in executors(split.record)}) == 2
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
    for node, seed, started, _, gpus, _ in notes(here):
        by_node.setdefault(node, []).append((started, seed))
        assert gpus == "0"  # the one of its node
    assert len(by_node) <= 2
    for calls in by_node.values():  # cells of one node follow one another
        seeds = [seed for seed, _ in groupby(seed for _, seed in sorted(calls))]
        assert len(seeds) == len(set(seeds))


@pytest.mark.filterwarnings("default")
def test_latency_cells_without_devices_of_their_own_follow_one_another_on_one_machine(
    two_nodes: Any, here: Path, write_experiment: Callable[..., Path]
) -> None:
    """Both nodes are processes of this machine, which Ray does not know."""
    systems = [{"name": "mine:OnCpu", "label": f"{seed}", "options": {"seed": seed}} for seed in range(4)]
    path = write_experiment(queries=QUERIES, rerankers=systems, protocol={"warmup": 0, "threads": 1})
    assert go(path, here / "ray").exit_status == 0
    calls = sorted((started, ended, seed) for _, seed, started, ended, _, _ in notes(here))
    seeds = [seed for seed, _ in groupby(seed for *_, seed in calls)]
    assert len(seeds) == len(set(seeds)) == 4  # no cell's calls stand between those of another
    assert all(ended <= started for (_, ended, _), (started, _, _) in pairwise(calls))
    for cell in read_results(here / "ray").cells:
        (session,) = cell.record.sessions
        assert session.environment["threads"]["pinned"] == 1
        assert session.executor is not None
        assert (session.executor.name, session.executor.gpus, session.executor.co_runners) == ("ray", 0, ())


WAITS = """
import time
from pathlib import Path

import pandas as pd
import pyterrier as pt


def waits(passages):
    deadline = time.monotonic() + 120
    while not any(rows.read_bytes() for rows in Path("ray").glob("*/queries.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return pt.Transformer.from_df(pd.DataFrame([("q0", "q0-d0", 1.0)], columns=["qid", "docno", "score"]))
"""


@pytest.mark.filterwarnings("default")
def test_rows_are_kept_while_the_next_candidate_set_is_still_retrieved(
    two_nodes: Any, here: Path, write_experiment: Callable[..., Path]
) -> None:
    pytest.importorskip("pyterrier", reason="PyTerrier is not installed")
    (here / "waits.py").write_text(WAITS)
    first_stages = ["given", {"kind": "pyterrier", "pipeline": "waits:waits"}]
    path = write_experiment(first_stages=first_stages, rerankers=["reverse"], protocol={"warmup": 0})
    assert go(path, here / "ray").exit_status == 0
    assert [len(cell.rows) for cell in read_results(here / "ray").cells] == [3, 3]


@pytest.mark.filterwarnings("default")
def test_passages_are_embedded_once_and_a_cell_with_a_store_is_split_as_well(
    two_nodes: Any, here: Path, write_experiment: Callable[..., Path], tiny_encoder: str
) -> None:
    options = {"model": tiny_encoder, "device": "cpu", "embeddings": "precomputed", "store": "vectors"}
    systems = [{"name": "embedding", "options": options}]
    protocol = {"mode": "throughput", "batch_size": 2, "warmup": 0, "threads": 1}
    path = write_experiment(queries=QUERIES, depth=130, rerankers=systems, protocol=protocol)
    assert go(path, here / "ray").exit_status == 0
    (cell,) = read_results(here / "ray").cells
    assert len({executor.node for executor in executors(cell.record)}) == 2
    assert sum(row.usage["passages_from_store"] for row in cell.rows) == QUERIES * 130
    (here / "vectors").rename(here / "of-ray")
    assert go(path, here / "local", is_local=True).exit_status == 0
    assert rankings(here / "ray") == rankings(here / "local")
    ((folder,),) = [[*(here / "vectors").iterdir()]]
    meta = json.loads((folder / "meta.json").read_text())
    dimension = meta.pop("dimension")
    texts = [f"passage {p} of {q}" for q in range(QUERIES) for p in range(130)]
    ours, theirs = (EmbeddingStore(here / name, meta, dimension) for name in ("vectors", "of-ray"))
    assert len(ours) == len(theirs) == len(texts)
    assert ours.get(texts)[0].tobytes() == theirs.get(texts)[0].tobytes()


READS = """
from pathlib import Path

from helper import SEED
from mine import Mine, MineOptions


class ReadsOptions(MineOptions):
    file: str


class Reads(Mine):
    # Reads a file that an option names, and comes with modules beside it.

    options_model = ReadsOptions

    def __init__(self, options):
        super().__init__(options.model_copy(update={"seed": SEED}))
        assert Path(options.file).read_text() == "words"
"""
DRIVER = """
import sys

from benchmarks.cli.main import main
from benchmarks.executors import ray

pack = ray.pack
ray.pack = lambda *given: pack(*given)._replace(working_folder="/driver/only")  # nodes have no such folder
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.filterwarnings("default")
def test_a_killed_driver_keeps_rows_and_its_files_and_modules_travel(
    two_nodes: Any, here: Path, write_experiment: Callable[..., Path]
) -> None:
    for name, content in (("reads.py", READS), ("helper.py", "SEED = 7\n"), ("driver.py", DRIVER)):
        (here / name).write_text(content)
    (here / "data").mkdir()
    (here / "data" / "words.txt").write_text("words")
    system = {"name": "reads:Reads", "options": {"file": "data/words.txt", "pause": 1.1}}
    path = write_experiment(queries=QUERIES, depth=10, rerankers=[system], protocol={"warmup": 0})
    command = [sys.executable, "driver.py", "run", str(path), "--executor", "ray", "--out", "ray"]
    environment = {**os.environ, "RAY_ADDRESS": two_nodes.address}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as driver:
        while driver.poll() is None and sum(map(rows_in, (here / "ray").glob("*/queries.jsonl"))) < 2:
            time.sleep(0.1)
        driver.kill()
        assert driver.wait() < 0
    (cell,) = read_results(here / "ray").cells
    kept = [row.query_id for row in cell.rows]
    assert kept == [f"q{q}" for q in range(len(kept))]
    assert 2 <= len(kept) < QUERIES
    assert cell.record.status == "running"
    assert not (here / "notes.jsonl").exists()  # the task ran in Ray's copy of the files
    assert go(path, here / "ray").exit_status == 0
    (cell,) = read_results(here / "ray").cells
    assert [row.query_id for row in cell.rows] == [f"q{q}" for q in range(QUERIES)]
    assert [row.session for row in cell.rows] == [0] * len(kept) + [1] * (QUERIES - len(kept))
    assert go(path, here / "local", is_local=True).exit_status == 0
    assert rankings(here / "ray") == rankings(here / "local")


@pytest.mark.filterwarnings("default")
def test_what_a_lost_machine_has_ranked_is_kept_and_the_rest_is_ranked_elsewhere(
    two_nodes: Any, here: Path, write_experiment: Callable[..., Path]
) -> None:
    ray = pytest.importorskip("ray")
    spared = ray.get_runtime_context().get_node_id()
    protocol = {"mode": "throughput", "batch_size": 2, "warmup": 0}
    path = write_experiment(
        queries=QUERIES, depth=10, rerankers=[mine(seed=1, leaves=spared, pause=1.1)], protocol=protocol
    )
    try:
        assert go(path, here / "ray").exit_status == 0
    finally:
        two_nodes.add_node(num_cpus=1, num_gpus=1)
    assert (here / "left").exists()
    ranked = Counter(query_id for *_, ids in notes(here) for query_id in ids)
    assert ranked == {f"q{q}": 1 for q in range(QUERIES)}  # nothing was ranked twice
    (cell,) = read_results(here / "ray").cells
    nodes = Counter(executors(cell.record)[row.session].node for row in cell.rows)
    assert sorted(nodes.values()) == [2, 6]
    assert nodes[spared[:8]] == 6
    assert go(path, here / "local", is_local=True).exit_status == 0
    assert rankings(here / "ray") == rankings(here / "local")


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


def test_a_budget_and_a_cluster_exclude_each_other(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(InputError, match="only one process can keep a budget"):
        go(write_experiment(budget=1.0), tmp_path / "out")


def rows_in(path: Path) -> int:
    return len(path.read_bytes().splitlines())
