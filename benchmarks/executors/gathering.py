"""The driver's side of a cell: rows of tasks go into its folder as they arrive, each of them once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.pipeline import new_record
from benchmarks.results.cell import CellWriter, write_in_order
from benchmarks.results.cell_lines import committed
from rerankers.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan
    from benchmarks.results.record import Executor, QueryRow, Record


class State(NamedTuple):
    """The content of a cell, or of a part of it: its record, ranking lines by query, and rows."""

    record: Record
    blocks: dict[str, bytes]
    rows: list[QueryRow]


class Report(NamedTuple):
    """A task's report on a cell.

    Attributes:
        news: the record so far, with the task's session last, and rankings and rows since the last report.
        failure: the error's line and its exit status, in a last report.
    """

    news: State
    failure: tuple[str, int] | None = None


class Gathering:
    """One cell of the result folder, into which its tasks' rows are put.

    Rows are appended as they arrive, so that a killed driver keeps them. Once the cell ends, they stand in
    the order of the queries.

    Attributes:
        tasks: how many of its tasks have not ended.
        failure: why one of them failed.
    """

    def __init__(self, experiment: Experiment, plan: CellPlan, pool: Pool, folder: Path) -> None:
        self.plan, self.pool, self.tasks = plan, pool, 0
        self.failure: Exception | None = None
        self._folder = folder / plan.name
        record = new_record(experiment, plan, pool.dataset, pool.first_stage, pool.digest)
        self._begun = record.model_copy(update={"sessions": ()})
        self._writer, self._is_closed = CellWriter(self._folder, self._begun), False
        self.close()  # until rows come: an experiment may have more cells than files can be open
        self._blocks, self._rows = committed(self._folder)

    def part(self, query_ids: Sequence[str]) -> State:
        """Return the rows and rankings of some queries, as far as they are there."""
        wanted = set(query_ids)
        blocks = {query_id: block for query_id, block in self._blocks.items() if query_id in wanted}
        return State(self._writer.record, blocks, [row for row in self._rows if row.query_id in wanted])

    def is_measured(self, query_ids: Sequence[str]) -> bool:
        """Return whether every repeat of some queries is there."""
        repeats = range(self.plan.protocol.repeats)
        return all((query_id, repeat) in self._writer.done for query_id in query_ids for repeat in repeats)

    def add(self, report: Report, session: int | None, executor: Executor) -> tuple[int | None, int]:
        """Put in what a task tells.

        Args:
            report: what it tells.
            session: position of the task's session in the record; None before it has one.
            executor: where the task runs.

        Returns:
            the position of the task's session, None if it has still no rows; and how many rows are new.
        """
        if self._is_closed:
            self._writer, self._is_closed = CellWriter(self._folder, self._begun), False
        record, blocks, rows = report.news
        is_last = record.status != "running"
        new = [row for row in rows if (row.query_id, row.repeat) not in self._writer.done]
        if new or is_last:
            told = record.sessions[-1].model_copy(update={"executor": executor})
            sessions = [*self._writer.record.sessions]
            if session is None:
                session = len(sessions)
                sessions.append(told)
            sessions[session] = told
            operations = record.operations or self._writer.record.operations
            described = self._writer.record.system.model_copy(
                update={"described": record.system.described or self._writer.record.system.described}
            )
            self._writer.update(sessions=tuple(sessions), system=described, operations=operations)
        mine = [row.model_copy(update={"session": session}) for row in new]
        self._writer.append(mine, blocks)
        self._rows += mine
        for query_id, block in blocks.items():
            self._blocks.setdefault(query_id, block)
        if report.failure is not None:
            line, exit_status = report.failure
            self.failure = InputError(line) if exit_status == 2 else ModelError(line)
        return session, len(mine)

    def end_task(self, error: Exception | None = None) -> None:
        """Note that a task has ended, or why it was given up; the last one ends the cell."""
        self.tasks -= 1
        self.failure = error or self.failure
        if self.tasks:
            return
        self.close()
        failed = {"status": "failed", "error": str(self.failure)}
        changes = {"status": "done", "error": None} if self.failure is None else failed
        record = self._writer.record.model_copy(update=changes)
        write_in_order(self._folder, record, self._blocks, self._rows, list(self.pool.queries))

    def close(self) -> None:
        """Close the cell's files; the next report opens them again."""
        self._writer.close()
        self._is_closed = True


def write_part(folder: Path, state: State, pool: Pool) -> None:
    """Write what is there of a cell into another folder, where a task goes on from it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_in_order(folder, state.record, state.blocks, state.rows, list(pool.queries))
