"""Splits a cell's queries into tasks, and states the resources that a task requests."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.executors.gathering import Gathering
from benchmarks.executors.shards import query_shards, task_resources
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.pipeline import freeze_pool
from rerankers.errors import InputError
from tests.benchmarks.executors.shuffling import QUERIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_queries_are_split_between_batches_and_only_where_that_changes_nothing(
    write_experiment: Callable[..., Path], here: Path, tiny_encoder: str
) -> None:
    def shards(reranker: Any, *overrides: str) -> list[tuple[str, ...]]:
        path = write_experiment(queries=QUERIES, rerankers=reranker)
        experiment, _ = load_experiment(path, [f"protocol.{override}" for override in overrides])
        (cell,) = plan(experiment)
        pool = freeze_pool(cell.pool, here / "pools", store_text=True)
        with closing(Gathering(experiment, cell, pool, here / "pools")) as gathering:
            return list(query_shards([gathering], 2))

    whole = tuple(f"q{q}" for q in range(QUERIES))
    batched = ["mode=throughput", "batch_size=3"]
    assert shards("reverse", *batched) == [whole[:3], whole[3:]]
    assert shards("reverse") == [whole]  # latency is measured on one device
    for embeddings in ("per_query", "precomputed"):
        options = {"model": tiny_encoder, "device": "cpu", "embeddings": embeddings}
        embedding = {"name": "embedding", "options": options}
        fusion = {"name": "fusion", "options": {"parts": [{"name": "reverse"}, part(embedding)]}}
        assert shards(embedding, *batched) == shards(fusion, *batched) == [whole[:3], whole[3:]]
    assert shards("mine:Prepares", *batched) == [whole]  # of which it is not known how it prepares
    parts = [{"name": "reverse"}, {"name": "mine:Prepares"}]
    assert shards({"name": "fusion", "options": {"parts": parts}}, *batched) == [whole]


def part(system: dict[str, Any]) -> dict[str, Any]:
    return {"name": system["name"], "options": system["options"]}


def test_a_task_owns_a_gpu_or_a_node(write_experiment: Callable[..., Path], tiny_encoder: str) -> None:
    nodes = [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 16.0}, {"CPU": 4.0}]

    def device(name: str, **options: Any) -> tuple[dict[str, int], int]:
        path = write_experiment(rerankers=[{"name": name, "options": options}])
        return task_resources(plan(load_experiment(path)[0]), nodes)

    a_gpu, a_node = ({"num_gpus": 1, "num_cpus": 4}, 4), ({"num_cpus": 16}, 2)
    assert device("embedding", model=tiny_encoder) == a_gpu
    assert device("embedding", model=tiny_encoder, device="cpu") == a_node
    assert device("rankgpt", model="m", backend="transformers") == a_gpu
    assert device("rankgpt", model="m") == a_node  # an endpoint has its own
    assert device("first-stage") == a_node
    nodes[:] = [{}]
    with pytest.raises(InputError, match="no node of the Ray cluster has CPUs"):
        device("first-stage")
