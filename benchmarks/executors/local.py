"""Runs an experiment in this process: one pool and one reranker in memory at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from benchmarks.candidates.pool_folder import load_pool, remove_leftovers
from benchmarks.collector import thawed_at_the_end
from benchmarks.evaluation.measure_checks import check_measures
from benchmarks.executors.own_process import run_in_own_process
from benchmarks.executors.rate_search import say_outcomes, searches_of
from benchmarks.experiments.inputs import Inputs
from benchmarks.experiments.plan import plan, unread_instructions
from benchmarks.judging.beside import keep_further_judgements
from benchmarks.measuring.cell_run import explain, log
from benchmarks.measuring.progress import say
from benchmarks.pipeline import SPENDING, freeze_pool, record_failure, run_cells
from benchmarks.results.adoption import adopt_answers
from benchmarks.results.cell_lines import committed
from benchmarks.results.cell_record import check_seal, read_record, readable_record, write_record
from benchmarks.results.output_faults import faults_of
from benchmarks.results.store import changed_inputs, write_experiment
from rerankers.endpoints.prices import Budget
from rerankers.errors import DamagedError, InputError, StoreError
from rerankers.files.folder_lock import FolderLock
from rerankers.registry import validated
from rerankers.stages import StageClock
from rerankers.text.quantities import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan, PoolPlan

    Execute = Callable[[Experiment, Sequence[CellPlan], Path], dict[str, Exception]]


@dataclass
class Outcome:
    """The outcome of a run: where the results are, costs in dollars, and the cells that failed.

    Attributes:
        folder: the result folder.
        cells: number of cells of the experiment.
        dollars: list price of all rankings in the folder, cached responses included.
        dollars_paid: price of the calls that were made, warm-up and retries included; with a budget, the
            total of its ledger.
        failures: the error of each failed cell, by the cell's name.
    """

    folder: Path
    cells: int
    dollars: float = 0.0
    dollars_paid: float = 0.0
    failures: dict[str, Exception] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """Exit status of the run: 0 done, 1 some cells failed, 2 some failed because of bad input."""
        return max((getattr(error, "exit_status", 1) for error in self.failures.values()), default=0)


def run(
    experiment: Experiment, config: Mapping[str, Any], folder: Path, execute: Execute | None = None
) -> Outcome:
    """Measure all unfinished cells of an experiment into a result folder, and return the outcome.

    Cells that failed in an earlier run are tried again. Progress and warnings are printed.

    Args:
        experiment: the validated experiment.
        config: the experiment file's values, stored with the results.
        folder: the result folder.
        execute: the function that measures unfinished cells; `here` by default.

    Raises:
        InputError: the key of an endpoint is not set, or a measure cannot be computed on a dataset.
        StoreError: the folder is in use, damaged, or cannot be written.
    """
    inputs = Inputs()
    cells = plan(experiment, inputs)
    outcome = Outcome(folder, len(cells))
    for note in unread_instructions(cells):
        say(note)
    with FolderLock(folder), thawed_at_the_end():
        remove_leftovers(folder / "pools")
        pools = [cell.pool for cell in cells]
        check_measures(pools, folder)
        keep_further_judgements(pools, folder)
        for path in changed_inputs(folder, inputs.summary()):
            say(
                f"{path}: its content has changed since the last run; what depends on it is measured in new "
                "cells, and the earlier cells are kept but not listed"
            )
        write_experiment(folder, experiment.name, [cell.name for cell in cells], config, inputs.summary())
        todo = [cell for cell in cells if not _is_finished(folder, cell, experiment)]
        _restore_pools(experiment, [cell for cell in cells if cell not in todo], folder)
        if len(todo) < len(cells):
            say(f"{len(cells) - len(todo)} of {len(cells)} cells are finished already")
        for cell in todo:  # before any of them is measured
            if key := validated(cell.reranker, cell.options).missing_key:
                raise InputError(f"{cell.label}: its endpoint needs a key. Set {key} in the environment")
        searches = searches_of(experiment, cells, folder)
        outcome.failures |= (execute or here)(experiment, todo, folder)
        while new_cells := [next_cell for search in searches if (next_cell := search.next_cell())]:
            cells += new_cells
            names = [cell.name for cell in cells]
            write_experiment(folder, experiment.name, names, config, inputs.summary())
            todo = [cell for cell in new_cells if not _is_finished(folder, cell, experiment)]
            outcome.failures |= (execute or here)(experiment, todo, folder)
        keep_further_judgements(pools, folder)  # of the candidate sets that this run froze
        outcome.cells = len(cells)
        say_outcomes(searches)
        for cell in cells:
            if faults := str(faults_of(folder / cell.name)):
                say(f"{cell.pool.name}: {cell.label}: {faults}")
        _count_dollars(outcome, cells, experiment)
    return outcome


def _count_dollars(outcome: Outcome, cells: Sequence[CellPlan], experiment: Experiment) -> None:
    """Set the dollars of an outcome: what its endpoint cells cost, and what was paid for them."""
    folder = outcome.folder
    paid = [folder / cell.name for cell in cells if validated(cell.reranker, cell.options).is_remote]
    outcome.dollars = sum(map(_dollars, paid))
    outcome.dollars_paid = (
        sum(map(_dollars_paid, paid))
        if experiment.budget is None
        else Budget(experiment.budget, folder / SPENDING).spent
    )


def here(experiment: Experiment, cells: Sequence[CellPlan], folder: Path) -> dict[str, Exception]:
    """Measure cells in this process, one candidate set after another.

    Return errors by name of failed cell.
    """
    failures: dict[str, Exception] = {}
    for pool_plan, group in groupby(cells, key=lambda cell: cell.pool):
        some = list(group)
        pool = pool_or_failures(experiment, pool_plan, some, folder)
        failures |= pool if isinstance(pool, dict) else _run_pool(experiment, some, pool, folder)
    return failures


def pool_or_failures(
    experiment: Experiment, pool_plan: PoolPlan, cells: Sequence[CellPlan], folder: Path
) -> Pool | dict[str, Exception]:
    """Build and store the candidate set of some cells, and return it.

    If that fails, record the failure in each cell and return the error by cell name. Endpoint cells adopt the
    rankings that the same system gave in earlier cells of the folder.
    """
    clock = StageClock()
    started = clock.now()
    try:
        pool = freeze_pool(pool_plan, folder, store_text=experiment.store_text)
    except StoreError:
        raise
    except Exception as error:
        log.debug("%s failed", pool_plan.name, exc_info=True)
        say(f"{pool_plan.name}: no candidates: {explain(error)}")
        for cell in cells:
            record_failure(experiment, cell, error, folder)
        return {cell.name: error for cell in cells}
    say(f"{pool_plan.name}: {len(pool.queries)} queries in {duration(clock.now() - started)}")
    _adopt_answers(cells, pool, folder)
    return pool


def _adopt_answers(cells: Sequence[CellPlan], pool: Pool, folder: Path) -> None:
    """Copy rankings that an earlier cell holds for the same endpoint and queries into each remote cell."""
    for cell in cells:
        if cell.protocol.served is None and validated(cell.reranker, cell.options).is_remote:
            count = adopt_answers(cell, pool, folder)
            if count:
                say(f"{cell.label}: {count} queries were answered by an earlier run, and are not asked again")


def _run_pool(
    experiment: Experiment, cells: list[CellPlan], pool: Pool, folder: Path
) -> dict[str, Exception]:
    """Measure cells on their candidate set, one by one or interleaved, and print progress.

    Return errors by name of failed cell.
    """
    clock = StageClock()
    failures: dict[str, Exception] = {}
    together = len(cells) if experiment.protocol.interleave else 1
    for first in range(0, len(cells), together):
        some = cells[first : first + together]
        started = clock.now()
        for number, (cell, failure) in enumerate(
            zip(some, _measured(experiment, some, pool, folder), strict=True), first + 1
        ):
            line = f"{cell.pool.name}: {number} of {len(cells)}: {cell.label}"
            if failure is None:
                say(f"{line}, {duration(clock.now() - started)}")
            else:
                say(f"{line} failed: {explain(failure)}")
                failures[cell.name] = failure
    return failures


def _measured(
    experiment: Experiment, cells: Sequence[CellPlan], pool: Pool, folder: Path
) -> list[Exception | None]:
    """Measure cells together, or each in a process of its own (`own_process`).

    Return each cell's error or None.
    """
    if not experiment.protocol.own_process:
        return run_cells(experiment, cells, pool, folder)
    return [run_in_own_process(experiment, cell, pool, folder) for cell in cells]


def _is_finished(folder: Path, cell: CellPlan, experiment: Experiment) -> bool:
    """Return whether a cell is done and its files are undamaged.

    A finished cell's record is rewritten if the label, protocol, measures or suite of the experiment changed.
    """
    try:
        record = read_record(folder / cell.name)
        if record is None or record.status != "done":
            return False
        check_seal(folder / cell.name, record)
    except DamagedError as error:
        say(f"{cell.label}: damaged, and measured again: {error}")
        return False
    if experiment.count_operations and record.operations is None:
        return False  # measured, but not counted
    system = record.system.model_copy(update={"label": cell.label})
    changes = {
        "system": system,
        "protocol": cell.protocol,
        "measures": cell.pool.measures,
        "suite": cell.pool.suite,
        "experiment": experiment.name,
    }
    changed = record.model_copy(update=changes)
    if changed != record:
        write_record(folder / cell.name, changed)
    return True


def _restore_pools(experiment: Experiment, finished: Sequence[CellPlan], folder: Path) -> None:
    """Build the damaged candidate sets of finished cells again, and require the same digest.

    Raises:
        StoreError: the data now give other candidates than the cells ranked.
    """
    for pool_plan, group in groupby(finished, key=lambda cell: cell.pool):
        record = read_record(folder / next(group).name)
        if record is None or not record.pool:
            continue
        try:
            load_pool(folder / "pools" / record.pool)
        except DamagedError as error:
            pool = freeze_pool(pool_plan, folder, store_text=experiment.store_text)
            if pool.digest != record.pool:
                raise StoreError(
                    f"{folder / 'pools' / record.pool}: damaged, and the data now give other candidates "
                    f"(digest {pool.digest}); use a new result folder"
                ) from error


def _dollars(cell: Path) -> float:
    """Return the list price in dollars of a cell's rankings; 0 for a missing or damaged cell."""
    try:
        if read_record(cell) is None:
            return 0.0
        return float(sum(row.usage.get("dollars", 0.0) for row in committed(cell)[1]))
    except DamagedError:  # of a cell that got no candidates this time
        return 0.0


def _dollars_paid(cell: Path) -> float:
    """Return the dollars that a cell's sessions paid; 0 if its record cannot be read."""
    record = readable_record(cell)
    return sum(session.dollars_paid or 0.0 for session in record.sessions) if record else 0.0
