"""Runs an experiment on a Ray cluster: cells, and shards of a cell's queries, are tasks.

    RAY_ADDRESS=HEAD:6379 rerankbench run CONFIG --executor ray

This process freezes the candidate sets, sends each task its candidates, and alone writes into the result
folder. The other machines need rerankbench and the models, and no common disk.

A task owns its device: one GPU where the cluster has some and the reranker may use it, else all CPUs of a
node. In throughput mode the queries are split between batches, one shard for each device, so that batches and
therefore rankings are those of a local run. In the other modes a cell is one task, and so it is if its method
prepares something from all queries, or if systems are measured in turn.

Rows arrive while tasks run and are appended at once. A task whose worker or node is lost starts again from
the rows that arrived, three times at most, so that no query is measured twice or lost.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.executors.gathering import Gathering
from benchmarks.executors.local import pool_or_failures
from benchmarks.executors.passages import embed, shards_of_passages
from benchmarks.executors.ray_cluster import connect, short_messages
from benchmarks.executors.ray_driver import RETRIES, Task
from benchmarks.executors.ray_follower import Follower
from benchmarks.executors.shards import part_of, query_shards, task_resources
from benchmarks.executors.travel import Luggage, pack
from rerankers.errors import InputError, MissingExtraError
from rerankers.registry import validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan


def on_cluster(experiment: Experiment, cells: Sequence[CellPlan], folder: Path) -> dict[str, Exception]:
    """Measure cells as tasks of a Ray cluster; return errors by name of failed cell.

    Local files and modules travel to the nodes, unless this process was connected to the cluster before.

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
    if experiment.protocol.own_process:
        raise InputError(
            "protocol.own_process is for this machine: tasks of Ray share worker processes. Leave it out, or "
            "use --executor local"
        )
    with ExitStack() as stack:
        luggage = Luggage(str(Path.cwd()), {}, ())
        if not ray.is_initialized():
            sent = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rerankbench-")))
            luggage = pack(cells, sent)
            connect(ray, sent if any(sent.iterdir()) else None)
            stack.callback(ray.shutdown)
        stack.enter_context(short_messages())
        return _run(experiment, cells, folder, ray, luggage)


def _run(
    experiment: Experiment, cells: Sequence[CellPlan], folder: Path, ray: Any, luggage: Luggage
) -> dict[str, Exception]:
    """Freeze candidate sets and start their tasks; return errors by cell name once all tasks have ended."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    failures: dict[str, Exception] = {}
    tasks: list[Task] = []
    with ExitStack() as stack:
        follower = stack.enter_context(Follower(ray))
        for pool_plan, group in groupby(cells, key=lambda cell: cell.pool):
            some = list(group)
            pool = pool_or_failures(experiment, pool_plan, some, folder)
            if isinstance(pool, dict):
                failures |= pool
                continue
            sent: dict[tuple[str, ...], Any] = {}
            for together in [some] if experiment.protocol.interleave else [[cell] for cell in some]:
                gathered = [Gathering(experiment, cell, pool, folder) for cell in together]
                started = _tasks(ray, experiment, gathered, nodes, luggage, sent)
                follower.add(started)
                tasks += started
    ended = {gathering.plan.name: gathering.failure for task in tasks for gathering in task.gathered}
    return failures | {name: failure for name, failure in ended.items() if failure is not None}


def _tasks(
    ray: Any,
    experiment: Experiment,
    gathered: list[Gathering],
    nodes: Sequence[dict[str, float]],
    luggage: Luggage,
    sent: dict[tuple[str, ...], Any],
) -> list[Task]:
    """Start the tasks of cells that are measured together, one per shard of queries, and return them.

    `sent` holds Ray's reference to each shard's candidates; missing ones are added.
    """
    plans = [gathering.plan for gathering in gathered]
    resources, count = task_resources(plans, nodes)
    shards = list(query_shards(gathered, count))
    embedded = _embedded(ray, gathered[0], shards, resources, count, luggage) if len(plans) == 1 else []
    tasks = []
    for query_ids in shards:
        if query_ids not in sent:
            sent[query_ids] = ray.put(part_of(gathered[0].pool, query_ids))
        tasks.append(
            Task(ray, experiment, gathered, query_ids, sent[query_ids], embedded, resources, luggage)
        )
        experiment = experiment.model_copy(update={"count_operations": 0})  # the first shard counts
    for gathering in gathered:
        gathering.tasks = len(tasks)
    return tasks


def _embedded(
    ray: Any,
    gathering: Gathering,
    shards: Sequence[Sequence[str]],
    resources: dict[str, int],
    count: int,
    luggage: Luggage,
) -> list[Any]:
    """Start tasks that embed a cell's passages; return Ray's references to their results.

    Empty if the method embeds none, or if one task ranks all queries.
    """
    plan = gathering.plan
    if not validated(plan.reranker, plan.options).embeds_passages:
        return []
    query_ids = [query_id for shard in shards for query_id in shard]
    passages = shards_of_passages(gathering.pool, query_ids, count)
    if len(shards) == len(passages) == 1:
        return []  # the task that ranks embeds them
    task = ray.remote(embed).options(max_retries=RETRIES, **resources)
    return [task.remote(plan, texts, luggage) for texts in passages]
