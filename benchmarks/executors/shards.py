"""Splits a cell's queries into tasks, and states the resources that a task requests."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.candidates.scratch import ScratchCandidates
from benchmarks.measuring.protocol import batches
from rerankers.errors import InputError
from rerankers.registry import embeds_passages, validated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.candidates.frozen import Pool
    from benchmarks.executors.gathering import Gathering
    from benchmarks.experiments.plan import CellPlan


def task_resources(
    cells: Sequence[CellPlan], nodes: Sequence[dict[str, float]]
) -> tuple[dict[str, int], int]:
    """Return the CPUs and GPUs that a task requests from Ray, and the number of such devices in the cluster.

    A device is a GPU with its part of a node's CPUs, where there are GPUs and the cells may use one; else a
    whole node, one with the most CPUs.

    Raises:
        InputError: no node has CPUs.
    """
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
    """Return whether a cell's reranker can run on a GPU."""
    return validated(cell.reranker, cell.options).may_use_gpu


def query_shards(gathered: Sequence[Gathering], count: int) -> Iterator[tuple[str, ...]]:
    """Yield the query ids of each task: all in one, or split into at most `count` shards of whole batches.

    Only a single cell in throughput mode is split, and then without the queries that are already measured.
    Shards keep the batches of a local run, and therefore its rankings.
    """
    pool, plan = gathered[0].pool, gathered[0].plan
    is_split = plan.protocol.mode == "throughput" and len(gathered) == 1
    options = validated(plan.reranker, plan.options)
    if not is_split or embeds_passages(plan.reranker, options) is None:
        yield tuple(pool.queries)
        return
    calls = list(batches(list(pool.queries), plan.protocol.batch_size))
    left = [batch for batch in calls if not gathered[0].is_measured(batch)]
    left = left or calls  # measured, but its operations are not counted
    ends = [len(left) * part // count for part in range(count + 1)]
    for start, end in pairwise(ends):
        if start < end:
            yield tuple(query_id for batch in left[start:end] for query_id in batch)


def part_of(pool: Pool, query_ids: Sequence[str]) -> Pool:
    """Return a candidate set with only these queries; its digest stays that of the whole."""
    return replace(
        pool,
        queries={query_id: pool.queries[query_id] for query_id in query_ids},
        candidates=ScratchCandidates((query_id, pool.candidates[query_id]) for query_id in query_ids),
    )
