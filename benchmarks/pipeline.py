"""The sentence, as far as one cell goes.

    dataset -> first-stage run -> frozen candidate pool -> reranker -> ranking + stage times + usage
            -> measures -> result record -> report

`freeze_pool` is the sentence up to the pool, `run_cells` from there to the record. Measures and reports are
computed from records when they are read.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.candidates.frozen import Pool, build_pool, load_pool, read_index
from benchmarks.cli.redaction import as_line
from benchmarks.measuring.conditions import Conditions, noise, pin_threads, throttling
from benchmarks.measuring.environment import environment
from benchmarks.measuring.invariance import described_difference
from benchmarks.measuring.progress import Progress, say
from benchmarks.measuring.protocol import PeakMemory, collector_off, measure, timed, timing, warm_up
from benchmarks.measuring.seeds import seed_everything
from benchmarks.measuring.served import serve
from benchmarks.results.cell import CellWriter, committed
from benchmarks.results.record import (
    Executor,
    Operations,
    QueryRow,
    Record,
    Session,
    System,
    requests_per_second,
)
from rerankers.endpoints.prices import Budget
from rerankers.errors import BackendError, DamagedError, RerankbenchError, StoreError
from rerankers.files.writing import replace_file
from rerankers.registry import capabilities, create, load
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan, PoolPlan
    from rerankers.interface import Reranker, RerankRequest

    Steps = Generator[None, None, Exception | None]

log = logging.getLogger("rerankbench")

SERVED_AT_ONCE = 64  # requests that an endpoint gets at once, unless the experiment says


def freeze_pool(plan: PoolPlan, folder: Path, *, store_text: bool) -> Pool:
    """The candidates of a plan: those frozen by an earlier run into the same folder, else new ones.
    A damaged pool is built again.

    Raises:
        InputError: the dataset or the first stage is wrong.
        StoreError: the folder's pool has other candidates than the data give now.
    """
    index = read_index(folder / "pools")
    frozen = folder / "pools" / index.get(plan.key, "none")
    if frozen.exists():
        try:
            pool = load_pool(frozen)
            if (frozen / "texts.jsonl.gz").exists():
                return pool
        except DamagedError as error:
            say(f"{plan.name}: damaged, and built again: {error}")
    pool = build_pool(plan.dataset, plan.first_stage, plan.depth, plan.limit)
    if plan.key in index and index[plan.key] != pool.digest:
        raise StoreError(
            f"{frozen}: the data now give other candidates than were frozen here (digest {pool.digest}); "
            "use a new result folder"
        )
    pool.save(folder / "pools", store_text)
    replace_file(folder / "pools" / "index.json", json.dumps({**index, plan.key: pool.digest}, indent=1))
    return pool


def run_cells(
    experiment: Experiment, cells: Sequence[CellPlan], pool: Pool, folder: Path
) -> list[Exception | None]:
    """Measure systems on one pool as `measured_by_rounds` does, and return why each failed, or None."""
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
    """Measure systems on one pool, or what an earlier run left to measure: query by query in turn.

    Whatever a reranker raises is its cell's result: it is recorded, what was ranked before is kept, a later
    run goes on from there, and the other cells go on now.

    Yields:
        after each round: when all have loaded, and after one call of each.

    Returns:
        why each cell failed, or None.

    Raises:
        StoreError: the results cannot be written.
    """
    budget = None if experiment.budget is None else Budget(experiment.budget, folder / "spending.jsonl")
    alone = len(cells) == 1
    running = {cell.name: _measuring(experiment, cell, pool, folder, budget, alone) for cell in cells}
    failures: dict[str, Exception | None] = {}
    try:
        _next_query(running, failures)  # load and warm up
        yield
        with collector_off():
            while running:
                _next_query(running, failures)
                yield
    finally:
        for steps in running.values():
            steps.close()
        _release_memory()
    return [failures[cell.name] for cell in cells]


def _next_query(running: dict[str, Steps], failures: dict[str, Exception | None]) -> None:
    for name, steps in list(running.items()):
        try:
            next(steps)
        except StopIteration as end:
            failures[name] = end.value
            del running[name]


def _measuring(
    experiment: Experiment, cell: CellPlan, pool: Pool, folder: Path, budget: Budget | None, alone: bool
) -> Steps:
    """Measure one cell: a step to load and warm up, one for each call, one to end; returns why it failed."""
    requests = pool.requests(cell.instruction)
    memory = PeakMemory()
    reranker: Reranker | None = None
    connections: list[Reranker] = []
    conditions: Conditions | None = None
    noted: dict[str, Any] = {}
    checked: dict[str, Any] = {"dataset_instruction": cell.instruction} if cell.instruction else {}
    failure: Exception | None = None
    record = new_record(experiment, cell, pool.dataset, pool.first_stage, pool.digest)
    with CellWriter(folder / cell.name, record) as writer:
        try:
            started = StageClock().now()
            reranker = _construct(cell, pool)
            clock = StageClock(synchronise=_synchroniser(reranker))
            load_seconds = clock.now() - started
            connections = _connections(reranker, cell)
            if budget is not None:
                for connection in connections:
                    connection.pay_from(budget)
            threads = pin_threads(cell.protocol.threads)
            costs = timing(clock)
            seen = environment()  # once more: a loaded library tells more
            seen |= {"timing": costs, "threads": {**seen.get("threads", {}), "pinned": threads}}
            writer.update_session(load_seconds=load_seconds, environment=seen)
            writer.update(system=_described(writer, reranker, checked))
            seed_everything(cell.protocol.seed)
            reranker.prepare(requests)
            warmup_seconds, ended = warm_up(reranker, requests, cell.protocol, clock)
            writer.update_session(warmup_seconds=warmup_seconds, warmup_ended=ended)
            yield
            conditions = Conditions(requests, clock, has_control=str(reranker.device) == "cpu")
            controls: list[float] = []
            total = len(requests) * cell.protocol.repeats
            with Progress(cell.label, total, len(writer.done)) as progress:
                asked = requests, cell.protocol, clock, writer.done
                is_served = cell.protocol.served is not None
                for call in serve(connections, *asked, timed) if is_served else measure(reranker, *asked):
                    if call is not None:
                        control = conditions.between_calls()
                        controls += [] if control is None else [control]
                        progress.advance(writer.add(*call, control_seconds=control))
                    yield
            noted = _noted(conditions, memory, alone)  # before checks and counts, which are not measured
            checked |= described_difference(reranker, requests)
            _say_conditions(cell.label, costs, controls, conditions)
            _say_ties(cell.label, committed(folder / cell.name)[1])
            if is_served:
                rate = requests_per_second(committed(folder / cell.name)[1])
                say(f"{cell.label}: answered {rate or 0.0:.3g} requests a second")
            if experiment.count_operations:
                counted = requests[: experiment.count_operations]
                needs = capabilities(cell.reranker, cell.options)
                writer.update(operations=_count(reranker, counted, is_remote=needs.is_remote))
        except StoreError:
            raise
        except Exception as error:
            log.debug("%s failed", cell.label, exc_info=True)
            failure = error
        finally:
            noted = noted or _noted(conditions, memory, alone)
            if reranker is not None:  # an endpoint tells only with its answers what it runs
                noted["described"] = reranker.describe() | checked
                writer.update(system=_described(writer, reranker, checked))
                for connection in connections or [reranker]:
                    try:
                        connection.close()
                    except BackendError as error:  # an answer could not be kept
                        failure = failure or error
            writer.update_session(**noted)
        if failure is None:  # last of all: what is marked as done is whole
            writer.update(status="done", error=None)
            return None
        writer.update(status="failed", error=explain(failure))
        return _without_frames(failure)


def _noted(conditions: Conditions | None, memory: PeakMemory, alone: bool) -> dict[str, Any]:
    """What a session notes when it has measured; memory and energy only where one system runs."""
    joules = conditions.end() if conditions else None
    noted: dict[str, Any] = {"samples": tuple(conditions.samples) if conditions else ()}
    if not alone:
        return noted
    peaks = {"peak_host_bytes": memory.host_bytes(), "peak_device_bytes": memory.device_bytes()}
    return {**noted, **peaks, "device_joules": joules}


def _say_conditions(
    label: str, costs: dict[str, Any], controls: Sequence[float], conditions: Conditions
) -> None:
    said = f"{label}: the timing itself takes {1e6 * costs['stage_overhead_seconds']:.1f} µs a stage"
    spread = noise(controls)
    if spread is not None:
        said += f", and the identity control's p95 was {100 * spread:.0f} % above its median"
    say(said)
    for reason in throttling(conditions.samples):
        say(f"{label}: a GPU was slowed down while it measured: {reason}")


def _say_ties(label: str, rows: Sequence[QueryRow]) -> None:
    tied = sum(row.repeat == 0 and bool(row.usage.get("ties")) for row in rows)
    if tied:
        say(f"{label}: first ten ranks of {tied} queries tie; the first stage's order decides there")


def _count(reranker: Reranker, requests: Sequence[RerankRequest], *, is_remote: bool) -> Operations:
    """Of no query for endpoints, which do them elsewhere (and cost money), and where torch is not in use."""
    if is_remote or "torch" not in sys.modules:
        return Operations(queries=0, flops={}, bytes={})
    from benchmarks.measuring.operations import count_operations

    return count_operations(reranker, requests)


def record_failure(experiment: Experiment, cell: CellPlan, error: Exception, folder: Path) -> None:
    """Note that a cell could not begin, because it got no candidates; its record names no pool."""
    record = new_record(experiment, cell, cell.pool.dataset_name, cell.pool.first_stage.model_dump(), "")
    with CellWriter(folder / cell.name, record) as writer:  # which keeps what an earlier run ranked
        writer.update(status="failed", error=explain(error))


def new_record(
    experiment: Experiment, cell: CellPlan, dataset: str, first_stage: dict[str, Any], pool: str
) -> Record:
    """A record of a cell that begins now, in this process."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    session = Session(started_at=now, environment=environment(), executor=Executor())
    return Record(
        cell=cell.name,
        experiment=experiment.name,
        status="running",
        system=System(label=cell.label, reranker=cell.reranker, options=cell.options),
        dataset=dataset,
        first_stage=first_stage,
        depth=cell.pool.depth,
        pool=pool,
        measures=tuple(experiment.measures),
        protocol=cell.protocol,
        sessions=(session,),
    )


def explain(error: Exception) -> str:
    """An error as one line."""
    line = as_line(" ".join(str(error).split())) or "no reason given"
    return line if isinstance(error, RerankbenchError) else f"{type(error).__name__}: {line}"


def _described(writer: CellWriter, reranker: Reranker, checked: Mapping[str, Any]) -> System:
    return writer.record.system.model_copy(update={"described": {**reranker.describe(), **checked}})


def _construct(cell: CellPlan, pool: Pool) -> Reranker:
    qrels = {"qrels": pool.qrels} if load(cell.reranker).needs_qrels else {}
    return create(cell.reranker, {**cell.options, **qrels})


def _connections(reranker: Reranker, cell: CellPlan) -> list[Reranker]:
    """The reranker; and, for a served endpoint, as many more as requests may be under way at once."""
    served = cell.protocol.served
    if served is None or not capabilities(cell.reranker, cell.options).is_remote:
        return [reranker]
    count = served.concurrency or SERVED_AT_ONCE
    return [reranker, *(reranker.connection() for _ in range(count - 1))]


def _synchroniser(reranker: Reranker) -> Callable[[], None]:
    if str(reranker.device) == "cpu":
        return lambda: None  # without importing torch, which a reranker on a CPU may not need
    from rerankers.models.devices import synchroniser

    return synchroniser(reranker.device)


def _without_frames(error: Exception) -> Exception:
    """An error that holds on to no frame: theirs hold the model, which has to leave before the next loads."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def _release_memory() -> None:
    """Give memory back before the next system loads.

    What is left then are libraries: frozen, they are not looked at again for each system, which takes longer
    than measuring a small one. `benchmarks.executors.local.run` thaws them in the end.
    """
    gc.collect()
    gc.freeze()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
