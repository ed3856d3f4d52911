"""Measures each cell in a new process, so that its memory is its own whatever ran before (`own_process`).

The process that runs the experiment freezes the candidate sets, so that an index which was searched for them
is in the memory of no cell. Each new process imports and loads everything anew, which takes seconds. A
script that runs experiments needs the usual guard, `if __name__ == "__main__":`, because new processes
import it.
"""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

from benchmarks.measuring.cell_run import explain
from benchmarks.pipeline import record_failure, run_cells
from rerankers import errors
from rerankers.errors import ModelError, RerankbenchError, StoreError
from rerankers.progress import Activity, shown

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan


def run_in_own_process(experiment: Experiment, cell: CellPlan, pool: Pool, folder: Path) -> Exception | None:
    """Measure a cell in a new process; return the error that it failed with, or None.

    Raises:
        StoreError: the results cannot be written.
    """
    spawning = multiprocessing.get_context("spawn")  # a fork would share this process's memory
    ours, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_measure, args=(theirs, experiment, cell, pool, folder))
    process.start()
    theirs.close()
    try:
        with Activity("", is_timed=True):  # the other process shows what it does
            kind, message = ours.recv()
    except EOFError:  # it ended without a word
        process.join()
        failure = ModelError(_ended(process.exitcode or 0))
        record_failure(experiment, cell, failure, folder, pool)
        return failure
    finally:
        ours.close()
        process.join()
    if not kind:
        return None
    error = _rebuilt(kind, message)
    if isinstance(error, StoreError):
        raise error
    return error


def _ended(status: int) -> str:
    """Return an error message for a process that ended by itself with this exit status."""
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return f"its process ended {how}; memory may have run out. Run again to go on from there"


def _rebuilt(kind: str, message: str) -> RerankbenchError:
    """Return an error of the named class with this message; of the base class if the name is unknown."""
    error_class = getattr(errors, kind, RerankbenchError)
    error: RerankbenchError = RerankbenchError.__new__(error_class)
    Exception.__init__(error, message)
    return error


def _measure(outcome: Connection, experiment: Experiment, cell: CellPlan, pool: Pool, folder: Path) -> None:
    """Measure a cell in this process, and send (name of the error's class, message) through `outcome`.

    Both are empty if the cell did not fail.
    """
    try:
        with shown():
            [failure] = run_cells(experiment, [cell], pool, folder)
    except StoreError as error:
        failure = error
    outcome.send(("", "") if failure is None else (type(failure).__name__, explain(failure)))
    outcome.close()
