"""The task on a node of a Ray cluster: measures cells on some queries, and reports to the driver as it goes.

A task is a generator. It says where it runs, waits until it may measure on that machine, and then reports
rows between two calls, at most once a second and never while a call is timed.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.executors.gathering import Report, State, write_part
from benchmarks.executors.machine import MachineLock
from benchmarks.executors.passages import Embedded, fill_stores
from benchmarks.executors.ray_cluster import node_name
from benchmarks.executors.travel import Luggage, unpack
from benchmarks.measuring.cell_run import explain
from benchmarks.measuring.environment import host
from benchmarks.pipeline import measured_by_rounds
from benchmarks.results.cell_lines import split_blocks, split_rows
from benchmarks.results.cell_record import read_record
from benchmarks.results.seal import RANKING, ROWS
from rerankers.errors import RerankbenchError
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan

REPORT_SECONDS = 1.0


class Work(NamedTuple):
    """The input of a task: which cells to measure, and from what state.

    Attributes:
        experiment: the experiment of the cells.
        cells: the cells to measure; several take turns, query by query.
        earlier: for each cell, the rows and rankings that the driver already has for the task's queries.
        luggage: the local files and modules that the cells need.
        runs_alone: whether the task must measure alone on its machine.
    """

    experiment: Experiment
    cells: list[CellPlan]
    earlier: list[State]
    luggage: Luggage
    runs_alone: bool


class Arrival(NamedTuple):
    """A task's message of where it runs.

    Attributes:
        node: name of the machine and the first digits of Ray's id of the node.
        node_id: the first 8 digits of that id.
        machine: digest of the machine's name, as records hold it.
        waits: whether it waits for another measurement on that machine to end.
        seconds: the machine's clock, which all its processes share.
    """

    node: str
    node_id: str
    machine: str
    waits: bool
    seconds: float


class News(NamedTuple):
    """A task's message with one report per cell, and the time in seconds by its machine's clock."""

    reports: list[Report]
    seconds: float


def measure(work: Work, pool: Pool, *embedded: list[Embedded]) -> Iterator[Arrival | News]:
    """Measure cells on a node, resuming from the rows that the driver has, and yield messages.

    Args:
        work: the cells and their state.
        pool: the task's queries with their candidates.
        embedded: vectors of passages that other tasks embedded.

    Yields:
        an `Arrival`, then `News` of all cells at most once a second, the last one with failures.
    """
    with MachineLock(work.runs_alone) as lock:
        node, node_id = node_name()
        clock = StageClock()
        waits = not lock.acquire(may_wait=False)
        yield Arrival(node, node_id, host(), waits, clock.now())
        if waits:
            lock.acquire(may_wait=True)
            yield Arrival(node, node_id, host(), waits=False, seconds=clock.now())
        unpack(work.luggage, work.cells, node)
        fill_stores(embedded, pool)
        with tempfile.TemporaryDirectory(prefix="rerankbench-") as scratch:
            yield from _measured(work, pool, Path(scratch))


def measure_at_once(work: Work, pool: Pool, *embedded: list[Embedded]) -> list[Arrival | News]:
    """Measure cells as `measure` does, and return all messages in a list at the end.

    Ray's client (`ray://`) cannot stream them.
    """
    return list(measure(work, pool, *embedded))


def _measured(work: Work, pool: Pool, folder: Path) -> Iterator[News]:
    """Measure cells in `folder`, and yield their new rows between rounds; the last news has failures."""
    for cell, state in zip(work.cells, work.earlier, strict=True):
        write_part(folder / cell.name, state, pool)
    tails = [_Tail(folder / cell.name) for cell in work.cells]
    clock = StageClock()
    reported = float("-inf")
    with closing(measured_by_rounds(work.experiment, work.cells, pool, folder)) as rounds:
        while True:
            try:
                next(rounds)
            except StopIteration as end:
                failures: list[Exception | None] = end.value
                break
            if clock.now() - reported >= REPORT_SECONDS:
                yield News([Report(tail.news()) for tail in tails], clock.now())
                reported = clock.now()
    last = [
        Report(tail.news(), None if failure is None else (explain(failure), _exit_status(failure)))
        for tail, failure in zip(tails, failures, strict=True)
    ]
    yield News(last, clock.now())


def _exit_status(failure: Exception) -> int:
    """Return the exit status that an error stands for: its own if it is one of ours, else 1."""
    return failure.exit_status if isinstance(failure, RerankbenchError) else 1


class _Tail:
    """A reader of the lines that were appended to a cell's files since its last call."""

    def __init__(self, cell: Path) -> None:
        self._cell = cell
        self._read = {name: (cell / name).stat().st_size for name in (RANKING, ROWS)}

    def news(self) -> State:
        """Return the cell's current record, and the rankings and rows appended since the last call."""
        record = read_record(self._cell)
        assert record is not None  # noqa: S101 - written before the first round ends
        rows, blocks = (self._appended(name) for name in (ROWS, RANKING))
        return State(record, split_blocks(blocks), split_rows(rows))

    def _appended(self, name: str) -> bytes:
        """Return the bytes appended to one of the cell's files since the last call."""
        with (self._cell / name).open("rb") as file:
            file.seek(self._read[name])
            content = file.read()
        self._read[name] += len(content)
        return content
