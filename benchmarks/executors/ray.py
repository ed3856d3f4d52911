"""Runs an experiment on a Ray cluster: cells, and shards of a cell's queries, are tasks.

    RAY_ADDRESS=HEAD:6379 rerankbench run CONFIG --executor ray

This process freezes the pools, sends each task its candidates, and alone writes into the result folder. The
other machines need rerankbench and the models, and no common disk.

A task owns its device: one GPU where the cluster has some and the reranker may use it, else all CPUs of a
node. In throughput mode the queries are split between batches, one shard for each device, so that batches and
therefore rankings are those of a local run. In the other modes a cell is one task, and so it is if its method
prepares something from all queries, or if systems are measured in turn.

Ray runs a task again whose worker or machine is lost. A task's results come back whole, or not at all.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.candidates.scratch import ScratchCandidates
from benchmarks.executors.local import pool_or_failures
from benchmarks.executors.ray_cluster import connect, next_done, no_node, short_messages
from benchmarks.measuring.progress import say
from benchmarks.measuring.protocol import batches
from benchmarks.pipeline import explain, new_record, run_cells
from benchmarks.results.cell import committed, read_record, recover, write_record
from rerankers.errors import InputError, MissingExtraError, ModelError
from rerankers.files.writing import replace_file
from rerankers.interface import Reranker
from rerankers.registry import capabilities, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan
    from benchmarks.results.record import QueryRow, Record

RETRIES = 3  # of a task whose worker is lost; what a reranker raises is its cell's result


class State(NamedTuple):
    """What a cell holds, or a part of it: `benchmarks.results.cell` as values."""

    record: Record
    blocks: dict[str, bytes]
    rows: list[QueryRow]


class Measured(NamedTuple):
    """What a task gives back of a cell; `failure` is the error's line and its exit status."""

    state: State
    failure: tuple[str, int] | None


def on_cluster(experiment: Experiment, cells: Sequence[CellPlan], folder: Path) -> dict[str, Exception]:
    """Measure cells as tasks of a Ray cluster; returns why cells failed, by name.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: the experiment has a budget, which only one process can keep; no Ray answers at
            `RAY_ADDRESS`; or no node has CPUs.
        StoreError: the results cannot be written.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("the executor ray", "ray") from error
    if experiment.budget is not None:
        raise InputError("only one process can keep a budget; leave it out, or use --executor local")
    is_ours = not ray.is_initialized()
    if is_ours:
        connect(ray)
    with short_messages():
        try:
            return _run(experiment, cells, folder, ray)
        finally:
            if is_ours:
                ray.shutdown()


def _run(experiment: Experiment, cells: Sequence[CellPlan], folder: Path, ray: Any) -> dict[str, Exception]:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    measure = ray.remote(max_retries=RETRIES)(_measure)
    failures: dict[str, Exception] = {}
    tasks: dict[Any, list[Gathering]] = {}
    requests: dict[Any, dict[str, int]] = {}
    for pool_plan, group in groupby(cells, key=lambda cell: cell.pool):
        some = list(group)
        pool = pool_or_failures(experiment, pool_plan, some, folder)
        if isinstance(pool, dict):
            failures |= pool
            continue
        sent: dict[tuple[str, ...], Any] = {}
        for together in [some] if experiment.protocol.interleave else [[cell] for cell in some]:
            gathered = [Gathering(experiment, cell, pool, folder) for cell in together]
            device, count = _device(together, nodes)
            counting = experiment
            for query_ids in _shards(gathered, pool, count):
                if query_ids not in sent:
                    sent[query_ids] = ray.put(_part(pool, query_ids))
                earlier = [each.part(query_ids) for each in gathered]
                arguments = counting, together, sent[query_ids], earlier, str(Path.cwd())
                task = measure.options(**device).remote(*arguments)
                tasks[task], requests[task] = gathered, device
                counting = experiment.model_copy(update={"count_operations": 0})  # the first shard counts
            for each in gathered:
                each.tasks = sum(gathered is other for other in tasks.values())
    total, lost = len(tasks), ""
    while tasks:
        done = None if lost else next_done(ray, {task: requests[task] for task in tasks})
        if done is None:
            done, lost = next(iter(tasks)), lost or _lost({task: requests[task] for task in tasks})
            ray.cancel(done)
        gathered = tasks.pop(done)
        results = [lost] * len(gathered) if lost else _results(ray, done, len(gathered))
        for each, result in zip(gathered, results, strict=True):
            each.add(result)
            if each.failure is not None:
                failures[each.plan.name] = each.failure
            said = f" failed: {each.failure}" if each.failure else ""
            say(f"task {total - len(tasks)} of {total}: {each.plan.pool.name}: {each.plan.label}{said}")
    return failures


def _lost(requests: Mapping[Any, Mapping[str, int]]) -> str:
    return f"{no_node(requests)}. Start one with `ray start`, then run the same command again."


def _results(ray: Any, task: Any, count: int) -> list[Measured | str]:
    """Return what a task gave for each of its cells, or why it was lost."""
    try:
        return list(ray.get(task))
    except ray.exceptions.RayError as error:
        return [explain(getattr(error, "cause", None) or error)] * count


def _measure(
    experiment: Experiment, cells: list[CellPlan], pool: Pool, earlier: list[State], working_folder: str
) -> list[Measured]:
    """The task: resume cells from what there is of them, in a folder of its own."""
    if Path(working_folder).is_dir():
        os.chdir(working_folder)  # where relative paths of models start
    with tempfile.TemporaryDirectory(prefix="rerankbench-") as scratch:
        folder = Path(scratch)
        for cell, state in zip(cells, earlier, strict=True):
            if state.rows:
                _write(folder / cell.name, state, pool)
        measured = []
        for cell, failure in zip(cells, run_cells(experiment, cells, pool, folder), strict=True):
            record = read_record(folder / cell.name)
            assert record is not None  # noqa: S101 - `run_cells` writes one, whatever happens
            said = None if failure is None else (explain(failure), getattr(failure, "exit_status", 1))
            measured.append(Measured(State(record, *committed(folder / cell.name)), said))
        return measured


class Gathering:
    """One cell of the result folder, into which its tasks' results are put in the order of the queries.

    Attributes:
        tasks: how many are still to come.
        failure: why one of them failed.
    """

    def __init__(self, experiment: Experiment, plan: CellPlan, pool: Pool, folder: Path) -> None:
        self.plan, self.pool, self.tasks = plan, pool, 0
        self.failure: Exception | None = None
        self._folder = folder / plan.name
        self._folder.mkdir(parents=True, exist_ok=True)
        record = new_record(experiment, plan, pool.dataset, pool.first_stage, pool.digest)
        earlier, blocks, rows = recover(self._folder)
        kept = max((row.session for row in rows), default=-1) + 1
        sessions = earlier.sessions[:kept] if earlier else ()
        self.state = State(record.model_copy(update={"sessions": sessions}), blocks, rows)
        _write(self._folder, self.state, pool)

    def part(self, query_ids: tuple[str, ...]) -> State:
        """What is there of these queries."""
        wanted = set(query_ids)
        record, blocks, rows = self.state
        return State(
            record,
            {query_id: block for query_id, block in blocks.items() if query_id in wanted},
            [row for row in rows if row.query_id in wanted],
        )

    def add(self, result: Measured | str) -> None:
        """Put in what a task gave, or note why it was lost."""
        self.tasks -= 1
        if isinstance(result, str):
            self.failure = ModelError(result)
        else:
            if result.failure is not None:
                line, exit_status = result.failure
                self.failure = InputError(line) if exit_status == 2 else ModelError(line)
            self._merge(result.state)
        status = "running" if self.tasks else "done"
        changes = {"status": "failed", "error": str(self.failure)} if self.failure else {"status": status}
        record = self.state.record.model_copy(update=changes)
        self.state = self.state._replace(record=record)
        _write(self._folder, self.state, self.pool)

    def _merge(self, given: State) -> None:
        record, blocks, rows = self.state
        known = {(row.query_id, row.repeat) for row in rows}
        session = len(record.sessions)
        new = [
            row.model_copy(update={"session": session})
            for row in given.rows
            if (row.query_id, row.repeat) not in known
        ]
        changes = {
            "sessions": (*record.sessions, given.record.sessions[-1]),
            "system": given.record.system,
            "operations": given.record.operations or record.operations,
        }
        self.state = State(record.model_copy(update=changes), {**given.blocks, **blocks}, rows + new)


def _write(cell: Path, state: State, pool: Pool) -> None:
    """Write a cell in the order of the queries; what is read after a kill in between is whole."""
    cell.mkdir(parents=True, exist_ok=True)
    place = {query_id: place for place, query_id in enumerate(pool.queries)}
    rows = sorted(state.rows, key=lambda row: (row.repeat, place[row.query_id]))
    is_done = state.record.status == "done"
    write_record(cell, state.record.model_copy(update={"status": "running"}) if is_done else state.record)
    blocks = (state.blocks[query_id] for query_id in pool.queries if query_id in state.blocks)
    replace_file(cell / "ranking.trec", b"".join(blocks))
    replace_file(cell / "queries.jsonl", b"".join(row.line() for row in rows))
    if is_done:  # last of all: what is marked as done is whole
        write_record(cell, state.record)


def _device(cells: Sequence[CellPlan], nodes: list[dict[str, float]]) -> tuple[dict[str, int], int]:
    """What a task asks Ray for, and how many such devices the cluster has."""
    gpu_nodes = [node for node in nodes if node.get("GPU")]
    if gpu_nodes and any(_may_use_gpu(cell) for cell in cells):
        cpus = min(node.get("CPU", 1) / node["GPU"] for node in gpu_nodes)
        count = sum(int(node["GPU"]) for node in gpu_nodes)
        return {"num_gpus": 1, "num_cpus": max(1, int(cpus))}, count
    most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    if not most:
        raise InputError("no node of the Ray cluster has CPUs; start one with `ray start --num-cpus=N`")
    return {"num_cpus": most}, sum(int(node.get("CPU", 0)) == most for node in nodes)


def _may_use_gpu(cell: CellPlan) -> bool:
    return cell.options.get("device") != "cpu" and capabilities(cell.reranker, cell.options).may_use_gpu


def _shards(gathered: Sequence[Gathering], pool: Pool, count: int) -> Iterator[tuple[str, ...]]:
    """The queries of each task; without those that are measured already, where queries can be split."""
    protocol = gathered[0].plan.protocol
    prepares = load(gathered[0].plan.reranker).prepare is not Reranker.prepare
    if protocol.mode != "throughput" or prepares or len(gathered) > 1:
        yield tuple(pool.queries)
        return
    done = {(row.query_id, row.repeat) for row in gathered[0].state.rows}
    repeats = range(protocol.repeats)
    calls = list(batches(list(pool.queries), protocol.batch_size))
    left = [
        batch
        for batch in calls
        if any((query_id, repeat) not in done for query_id in batch for repeat in repeats)
    ]
    left = left or calls  # measured, but its operations are not counted
    ends = [len(left) * part // count for part in range(count + 1)]
    for start, end in pairwise(ends):
        if start < end:
            yield tuple(query_id for batch in left[start:end] for query_id in batch)


def _part(pool: Pool, query_ids: tuple[str, ...]) -> Pool:
    """A pool of fewer queries to send; it keeps its name."""
    return replace(
        pool,
        queries={query_id: pool.queries[query_id] for query_id in query_ids},
        candidates=ScratchCandidates((query_id, pool.candidates[query_id]) for query_id in query_ids),
    )
