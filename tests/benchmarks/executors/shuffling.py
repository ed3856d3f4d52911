"""A reranker of one's own that notes where it runs, and can take its worker or its node with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.executors.local import Outcome, run
from benchmarks.executors.ray import on_cluster
from benchmarks.experiments.config import load_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results.record import Executor, Record

QUERIES = 8
MINE = '''
import json, os, random, signal, time
from pathlib import Path

import ray

from rerankers.interface import Cost, Ranking, Reranker
from rerankers.options import MethodOptions


class MineOptions(MethodOptions):
    seed: int = 0
    dies: bool = False
    fails: bool = False
    leaves: str | None = None
    pause: float = 0.02


class Mine(Reranker):
    """Shuffles by the generator that everybody shares, and notes when and where.

    With `dies` its process is killed at query q5, once; with `leaves` its node, once, unless it has this id,
    after one call.
    """

    options_model = MineOptions

    def __init__(self, options):
        self.seed, self.pause, self.calls = options.seed, options.pause, 0
        self.dies, self.fails, self.leaves = options.dies, options.fails, options.leaves

    def rerank(self, requests, clock):
        started = time.time()
        ids = [request.query_id for request in requests]
        node = ray.get_runtime_context().get_node_id()
        self.calls += 1
        if self.calls > 1 and self.leaves not in (None, node) and not Path("left").exists():
            Path("left").touch()
            os.kill(os.getppid(), signal.SIGKILL)  # Ray's own process on that node
            os.kill(os.getpid(), signal.SIGKILL)
        if self.dies and "q5" in ids and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails and "q5" in ids:
            raise ValueError("no\\nway")
        time.sleep(self.pause)
        counts = [len(request.candidates) for request in requests]
        orders = [random.sample(range(count), count) for count in counts]
        rankings = [Ranking.of(request, order, Cost()) for request, order in zip(requests, orders)]
        note = [node, self.seed, started, time.time(), os.environ.get("CUDA_VISIBLE_DEVICES"), ids]
        with Path("notes.jsonl").open("a") as file:
            file.write(json.dumps(note) + "\\n")
        return rankings


class OnCpuOptions(MineOptions):
    @property
    def may_use_gpu(self):
        return False


class OnCpu(Mine):
    """The same without a GPU."""

    options_model = OnCpuOptions


class Prepares(Mine):
    """The same after a look at all queries."""

    def prepare(self, requests):
        self.seed = len(requests)
'''


def go(path: Path, folder: Path, *, is_local: bool = False) -> Outcome:
    experiment, config = load_experiment(path)
    return run(experiment, config, folder, None if is_local else on_cluster)


def rankings(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("*/ranking.trec")}


def notes(here: Path) -> list[Any]:
    return [json.loads(line) for line in (here / "notes.jsonl").read_text().splitlines()]


def executors(record: Record) -> list[Executor]:
    return [session.executor for session in record.sessions if session.executor is not None]


def mine(**options: Any) -> dict[str, Any]:
    return {"name": "mine:Mine", "label": f"{options}", "options": options}
