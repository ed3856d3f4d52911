"""A process that imports the harness once and forks one run after another, so that a start is cheap.

    nursery.py kill COUNT SEED rerankbench-arguments...                SIGKILLs runs at random instants
    nursery.py limit BYTES,BYTES,... rerankbench-arguments...          runs whose files may not outgrow BYTES
    nursery.py run rerankbench-arguments...                            one run to its end
    nursery.py pair rerankbench-arguments...                           a second run while the first one works

Prints how each run ended, one number a line: minus the signal that killed it, or its exit status.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import benchmarks.candidates.file
import benchmarks.datasets.sources
import benchmarks.executors.local
import benchmarks.first_stages.retrieval  # noqa: F401 - each for the children, who need it
from benchmarks.cli import main as cli
from benchmarks.measuring.environment import environment
from rerankers.baselines import Random
from rerankers.methods.baselines import RandomOptions
from rerankers.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.interface import Ranking, RerankRequest
    from rerankers.stages import StageClock


class Slow(Random):
    """Shuffles, twelve milliseconds a call: long enough to be killed in."""

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Wait, then shuffle."""
        time.sleep(0.012)
        return super().rerank(requests, clock)


class SlowOptions(RandomOptions):
    """Options of `slow`."""

    summary: ClassVar[str] = "waits"
    implementation: ClassVar[str] = "nursery:Slow"


def main(kind: str, *arguments: str) -> None:
    """Do what the module says."""
    METHODS["slow"] = "nursery:SlowOptions"
    environment()  # what it keeps, its children need not find out again

    def start(limit: int | None = None) -> int:
        child = os.fork()
        if not child:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            os._exit(cli.main(arguments))
        return child

    if kind == "kill":
        count, seed, *rest = arguments
        arguments = tuple(rest)
        folder = Path(arguments[arguments.index("--out") + 1])
        delays = random.Random(int(seed))
        for kill in range(int(count)):
            before = bytes_measured(folder)
            child = start()
            if kill % 2:  # every other one while it measures, the rest wherever they happen to be
                wait_until(partial(has_progressed_or_ended, folder, before, child))
            time.sleep(delays.expovariate(1 / (0.08 if kill % 2 else 0.3)))
            os.kill(child, signal.SIGKILL)
            say_end(child)
    elif kind == "limit":
        limits, *rest = arguments
        arguments = tuple(rest)
        for limit in limits.split(","):
            say_end(start(int(limit)))
    elif kind == "pair":
        first = start()
        folder = Path(arguments[arguments.index("--out") + 1])
        wait_until(lambda: (folder / "experiment.json").exists())
        say_end(start())
        say_end(first)
    else:
        say_end(start())


def bytes_measured(folder: Path) -> int:
    """How much has been written about queries."""
    return sum(path.stat().st_size for path in folder.glob("*/queries.jsonl"))


def has_progressed_or_ended(folder: Path, before: int, child: int) -> bool:
    """Whether a query was measured since, or nothing is left to measure."""
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended is not None or bytes_measured(folder) > before


def wait_until(is_true: Callable[[], bool]) -> None:
    """Look every millisecond."""
    while not is_true():
        time.sleep(0.001)


def say_end(child: int) -> None:
    """Wait for a run and print how it ended."""
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
