"""Writes the rows that parallel tasks report for a cell into the cell's folder, each row once."""

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
    """The content of a cell, or of some of its queries: record, ranking lines by query, and rows."""

    record: Record
    blocks: dict[str, bytes]
    rows: list[QueryRow]


class Report(NamedTuple):
    """A task's report on one cell: new rows, and the failure if the cell failed.

    Attributes:
        news: the record so far, with the task's session last, and rankings and rows since the last report.
        failure: message and exit status of the error; only the last report of a failed cell has one.
    """

    news: State
    failure: tuple[str, int] | None = None


class Gathering:
    """The writer of one cell's folder, which merges the reports of all tasks that measure the cell.

    Rows are appended as they arrive, so that a killed driver keeps them. Once the cell ends, they stand in
    the order of the queries.

    Attributes:
        tasks: number of its tasks that have not ended.
        failure: the error of a task that failed.
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
        """Return the record, and the rankings and rows measured so far for the given queries."""
        wanted = set(query_ids)
        blocks = {query_id: block for query_id, block in self._blocks.items() if query_id in wanted}
        return State(self._writer.record, blocks, [row for row in self._rows if row.query_id in wanted])

    def is_measured(self, query_ids: Sequence[str]) -> bool:
        """Return whether every repeat of all the given queries has been measured."""
        repeats = range(self.plan.protocol.repeats)
        return all((query_id, repeat) in self._writer.done for query_id in query_ids for repeat in repeats)

    def add(self, report: Report, session: int | None, executor: Executor) -> tuple[int | None, int]:
        """Append a task's new rows and rankings to the cell's files, and update its session and failure.

        Args:
            report: the task's news of this cell.
            session: position of the task's session in the record; None before it has one.
            executor: where the task runs, to be recorded in the session.

        Returns:
            the position of the task's session, None while it has no rows; and the number of new rows.
        """
        if self._is_closed:
            self._writer, self._is_closed = CellWriter(self._folder, self._begun), False
        record, blocks, rows = report.news
        is_last = record.status != "running"
        new = [row for row in rows if (row.query_id, row.repeat) not in self._writer.done]
        if new or is_last:
            task_session = record.sessions[-1].model_copy(update={"executor": executor})
            sessions = [*self._writer.record.sessions]
            if session is None:
                session = len(sessions)
                sessions.append(task_session)
            sessions[session] = task_session
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
        """Count one task as ended, failed if an error is passed.

        After the last task, write the whole cell in query order, as done or failed.
        """
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
        """Close the cell's files; the next `add` opens them again."""
        self._writer.close()
        self._is_closed = True


def write_part(folder: Path, state: State, pool: Pool) -> None:
    """Write a cell's content so far into a new folder, in query order, so that a task can resume from it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_in_order(folder, state.record, state.blocks, state.rows, list(pool.queries))
