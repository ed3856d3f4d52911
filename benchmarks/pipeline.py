"""The steps of one cell's measurement, from the dataset to the record.

    dataset -> first-stage run -> frozen candidate pool -> reranker -> ranking + stage times + usage
            -> measures -> result record -> report

`freeze_pool` goes up to the candidate set, `run_cells` from there to the record. Measures and reports are
computed from records when they are read.
"""

from __future__ import annotations

import gc
import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.candidates.building import build_pool
from benchmarks.candidates.pool_folder import load_pool, read_index, save_pool
from benchmarks.collector import collector_off
from benchmarks.first_stages.retrieval import AT_ONCE
from benchmarks.measuring.cell_run import CellRun, explain
from benchmarks.measuring.environment import environment
from benchmarks.measuring.progress import say
from benchmarks.results.cell import CellWriter
from benchmarks.results.record import (
    Executor,
    Record,
    Session,
    System,
)
from rerankers.endpoints.prices import Budget
from rerankers.errors import DamagedError, StoreError
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan, PoolPlan

SPENDING = "spending.jsonl"
"""Ledger of a result folder's budget."""


def freeze_pool(plan: PoolPlan, folder: Path, *, store_text: bool) -> Pool:
    """Load the candidate set of a plan from the result folder, or else build it and save it there.

    A damaged candidate set is built again, and so is one whose queries were searched for at once, if the plan
    asks for their times.

    Args:
        plan: the dataset, the first stage and the depth.
        folder: the result folder.
        store_text: whether passages' texts are saved too.

    Raises:
        InputError: the dataset or the first stage is wrong.
        StoreError: the folder holds other candidates for this plan than the data give now.
    """
    index = read_index(folder / "pools")
    frozen = folder / "pools" / index.get(plan.key, "none")
    if frozen.exists():
        try:
            pool = load_pool(frozen)
            lacks_times = plan.is_timed and pool.first_stage.get("searched") == AT_ONCE
            if (frozen / "texts.jsonl.gz").exists() and not lacks_times:
                return pool
        except DamagedError as error:
            say(f"{plan.name}: damaged, and built again: {error}")
    pool = build_pool(plan.dataset, plan.first_stage, plan.depth, plan.limit, is_timed=plan.is_timed)
    if plan.key in index and index[plan.key] != pool.digest:
        raise StoreError(
            f"{frozen}: the data now give other candidates than were frozen here (digest {pool.digest}); "
            "use a new result folder"
        )
    save_pool(pool, folder / "pools", store_text)
    replace_file(folder / "pools" / "index.json", json.dumps({**index, plan.key: pool.digest}, indent=1))
    return pool


def run_cells(
    experiment: Experiment, cells: Sequence[CellPlan], pool: Pool, folder: Path
) -> list[Exception | None]:
    """Measure systems on one candidate set; return each cell's error, or None, in the order of the cells.

    It does what `measured_by_rounds` does, without stopping after each round.
    """
    rounds = measured_by_rounds(experiment, cells, pool, folder)
    while True:
        try:
            next(rounds)
        except StopIteration as end:
            failures: list[Exception | None] = end.value
            return failures


def measured_by_rounds(
    experiment: Experiment, cells: Sequence[CellPlan], pool: Pool, folder: Path
) -> Generator[None, None, list[Exception | None]]:
    """Measure systems on one candidate set, query by query in turn; an interrupted measurement is resumed.

    Whatever a reranker raises is its cell's result: it is recorded, what was ranked before is kept, a later
    run goes on from there, and the other cells go on now.

    Args:
        experiment: the experiment.
        cells: the systems.
        pool: the candidate set.
        folder: the result folder.

    Yields:
        None after each round: when all have loaded, and after one call of each.

    Returns:
        each cell's error, or None, in the order of the cells.

    Raises:
        StoreError: the results cannot be written.
    """
    budget = None if experiment.budget is None else Budget(experiment.budget, folder / SPENDING)
    failures: dict[str, Exception | None] = {}
    with ExitStack() as held:
        held.callback(_release_memory)
        running: dict[str, CellRun] = {}
        for cell in cells:
            running[cell.name] = CellRun(
                cell,
                pool,
                folder / cell.name,
                new_record(experiment, cell, pool.dataset, pool.first_stage, pool.digest),
                count_operations=experiment.count_operations,
                budget=budget,
                alone=len(cells) == 1,
            )
            held.callback(running[cell.name].close)
            if not running[cell.name].load():
                failures[cell.name] = running.pop(cell.name).finish()
        yield
        with collector_off():
            while running:
                for name, run in list(running.items()):
                    if not run.step():
                        failures[name] = running.pop(name).finish()
                yield
        return [failures[cell.name] for cell in cells]


def record_failure(
    experiment: Experiment, cell: CellPlan, error: Exception, folder: Path, pool: Pool | None = None
) -> None:
    """Write a failed cell's record, with the error as one line; rankings of an earlier run are kept.

    Args:
        experiment: the experiment.
        cell: the cell that could not begin or go on.
        error: the reason.
        folder: the result folder.
        pool: the candidate set; None if the cell got no candidates.
    """
    plan = cell.pool
    about = (
        (plan.dataset_name, plan.first_stage.model_dump(), "")
        if pool is None
        else (pool.dataset, pool.first_stage, pool.digest)
    )
    record = new_record(experiment, cell, *about)
    with CellWriter(folder / cell.name, record) as writer:  # which keeps what an earlier run ranked
        writer.update(status="failed", error=explain(error))


def new_record(
    experiment: Experiment, cell: CellPlan, dataset: str, first_stage: dict[str, Any], pool: str
) -> Record:
    """Return the record of a cell that begins now in this process, with one session and the status `running`.

    Args:
        experiment: the experiment.
        cell: the cell.
        dataset: name of the dataset.
        first_stage: description of the first stage.
        pool: digest of the candidate set.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    session = Session(
        started_at=now, environment=environment(), executor=Executor(is_own_process=cell.protocol.own_process)
    )
    return Record(
        cell=cell.name,
        experiment=experiment.name,
        status="running",
        system=System(label=cell.label, reranker=cell.reranker, options=cell.options),
        dataset=dataset,
        suite=cell.pool.suite,
        first_stage=first_stage,
        depth=cell.pool.depth,
        pool=pool,
        measures=cell.pool.measures,
        protocol=cell.protocol,
        sessions=(session,),
    )


def _release_memory() -> None:
    """Free memory, on the GPU too, before the next system loads.

    What is left then are libraries: frozen, they are not looked at again for each system, which takes longer
    than measuring a small one. `benchmarks.executors.local.run` thaws them in the end.
    """
    gc.collect()
    gc.freeze()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
