"""The measurement of one cell as an object: load, step by step, finish.

Cells on one candidate set are measured side by side, one call of each in turn, so each stops between its
calls. `benchmarks.pipeline` drives them.
"""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.cli.redaction import as_line
from benchmarks.measuring.conditions import Conditions, noise, pin_threads, throttling
from benchmarks.measuring.environment import environment
from benchmarks.measuring.invariance import described_difference
from benchmarks.measuring.progress import say
from benchmarks.measuring.protocol import PeakMemory, measure, timing, warm_up
from benchmarks.measuring.seeds import seed_everything
from benchmarks.measuring.served import serve
from benchmarks.results.cell import CellWriter
from benchmarks.results.cell_lines import rows_of
from benchmarks.results.record import Operations, System, requests_per_second
from rerankers.endpoints.prices import Tab
from rerankers.errors import BackendError, RerankbenchError, StoreError
from rerankers.files.fingerprints import file_digest
from rerankers.progress import Activity
from rerankers.registry import METHODS, create, options_model, source_of, validated
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.candidates.frozen import Pool
    from benchmarks.experiments.plan import CellPlan
    from benchmarks.measuring.protocol import Call
    from benchmarks.results.record import QueryRow, Record
    from rerankers.endpoints.prices import Budget
    from rerankers.interface import Reranker, RerankRequest

log = logging.getLogger("rerankbench")

_SMALL = 0.01  # share of the latency that the timing itself may take without a word
_BUSY = 0.5  # share by which the identity control's p95 may lie above its median without a word
SERVED_AT_ONCE = 64  # requests that an endpoint gets at once, unless the experiment says


class CellRun:
    """A cell that is being measured, one call at a time.

    Call `load`, then `step` until it returns False, then `finish`. Whatever the reranker raises ends the
    steps, and `finish` records it. `close` may be called at any time: it releases everything and records no
    outcome, as an interruption does.

    Args:
        cell: what to measure.
        pool: the candidate set.
        folder: the cell's own folder.
        record: the record it begins with.
        count_operations: number of requests whose FLOPs and bytes are counted afterwards.
        budget: the budget that pays for calls, or None.
        alone: whether no other cell runs in between, so that memory and energy are this cell's.

    Attributes:
        failure: the error that ended the measurement; None without one.

    Raises:
        StoreError: the results cannot be written; by every method.
    """

    _clock: StageClock
    _costs: dict[str, Any]
    _bar: ExitStack
    _progress: Activity

    def __init__(
        self,
        cell: CellPlan,
        pool: Pool,
        folder: Path,
        record: Record,
        *,
        count_operations: int,
        budget: Budget | None,
        alone: bool,
    ) -> None:
        self.failure: Exception | None = None
        self._cell, self._pool, self._folder = cell, pool, folder
        self._count_operations, self._budget, self._alone = count_operations, budget, alone
        self._requests = pool.requests(cell.instruction)
        self._checked: dict[str, Any] = {"dataset_instruction": cell.instruction} if cell.instruction else {}
        self._memory = PeakMemory()
        self._reranker: Reranker | None = None
        self._connections: list[Reranker] = []
        self._conditions: Conditions | None = None
        self._controls: list[float] = []
        self._tab: Tab | None = None
        self._calls: Iterator[Call | None] = iter(())
        self._noted: dict[str, Any] = {}
        self._is_open = True
        self._held = ExitStack()
        self._writer = self._held.enter_context(CellWriter(folder, record))

    def load(self) -> bool:
        """Construct the reranker, prepare it and warm it up; return False if that failed, else True."""
        return self._guarded(self._load)

    def step(self) -> bool:
        """Time one call and write its rows; return False once all calls are made or one failed."""
        return self._guarded(self._step)

    def finish(self) -> Exception | None:
        """Count operations, write the cell's outcome, and release the reranker.

        Returns:
            the error of a failed cell; None for a cell that is done.
        """
        try:
            if self.failure is None:
                self._guarded(self._check)
            self._let_go()
            if self.failure is None:  # last of all: what is marked as done is whole
                self._writer.update(status="done", error=None)
                return None
            self._writer.update(status="failed", error=explain(self.failure))
            return _without_frames(self.failure)
        finally:
            self._is_open = False
            self._held.close()

    def close(self) -> None:
        """Release models, connections and files, and leave the record with the status `running`."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._let_go()
        finally:
            self._held.close()

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Run a piece of work and return its result; on an error, keep it in `failure` and return False.

        Raises:
            StoreError: the results cannot be written.
        """
        try:
            return work()
        except StoreError:
            raise
        except Exception as error:
            log.debug("%s failed", self._cell.label, exc_info=True)
            self.failure = error
            return False

    def _load(self) -> bool:
        """Construct, prepare and warm up the reranker; record seconds and environment in the session.

        Return True, as `_guarded` expects, which also records the errors that this lets through.
        """
        cell, writer = self._cell, self._writer
        started = StageClock().now()
        with Activity(f"{cell.label}: loading"):
            self._reranker = reranker = _construct(cell, self._pool)
        self._clock = clock = StageClock(synchronise=_synchroniser(reranker))
        load_seconds = clock.now() - started
        self._connections = _connections(reranker, cell)
        needs = validated(cell.reranker, cell.options)
        if self._budget is not None or (needs.is_remote and needs.is_priced):
            self._tab = Tab(self._budget)
            for connection in self._connections:
                connection.pay_from(self._tab)
        threads = pin_threads(cell.protocol.threads)
        self._costs = timing(clock)
        seen = environment()  # once more: a loaded library tells more
        seen |= {"timing": self._costs, "threads": {**seen.get("threads", {}), "pinned": threads}}
        writer.update_session(load_seconds=load_seconds, environment=seen)
        if cell.reranker not in METHODS:
            self._checked["code"] = f"sha256:{file_digest(source_of(cell.reranker))[:16]}"
            if defaults := needs.defaults_beside(cell.options):  # a report does not import the class
                self._checked["defaults"] = defaults
        self._describe(reranker)
        seed_everything(cell.protocol.seed)
        with Activity(f"{cell.label}: preparing"):
            reranker.prepare(self._requests)
        with Activity(f"{cell.label}: warming up"):
            warmup_seconds, ended = warm_up(reranker, self._requests, cell.protocol, clock)
        reranker.end_warm_up()
        writer.update_session(warmup_seconds=warmup_seconds, warmup_ended=ended)
        return True

    def _step(self) -> bool:
        """Make the next call and write its rankings; return False once there is none left."""
        if self._conditions is None:
            self._begin()
        try:
            call = next(self._calls)
        except StopIteration:
            self._bar.close()
            return False
        if call is not None and self._conditions is not None:
            control = self._conditions.between_calls()
            self._controls += [] if control is None else [control]
            self._progress.advance(self._writer.add(*call, control_seconds=control))
        return True

    def _begin(self) -> None:
        """Start the conditions' samples, the progress bar and the iterator over the calls to time."""
        assert self._reranker is not None  # noqa: S101 - `load` came before
        is_cpu = str(self._reranker.device) == "cpu"
        protocol, done = self._cell.protocol, self._writer.done
        self._conditions = Conditions(self._requests, self._clock, has_control=is_cpu)
        total = len(self._requests) * protocol.repeats
        self._bar = self._held.enter_context(ExitStack())
        unit = "query" if protocol.repeats == 1 else "ranking"
        activity = Activity(self._cell.label, total, len(done), unit=unit, is_timed=True)
        self._progress = self._bar.enter_context(activity)
        arguments = self._requests, protocol, self._clock, done
        is_served = protocol.served is not None
        self._calls = (
            serve(self._connections, *arguments)
            if is_served
            else measure(self._reranker, *arguments, is_remote=_is_remote(self._cell))
        )

    def _check(self) -> bool:
        """Compare scores alone and in a batch, count operations, and print warnings about the session.

        Return False, because no work follows.
        """
        assert self._reranker is not None and self._conditions is not None  # noqa: S101, PT018 - after steps
        label = self._cell.label
        self._noted = self._conditions_noted()  # before checks and counts, which are not measured
        with Activity(f"{label}: checking scores alone and in a batch"):
            self._checked |= described_difference(self._reranker, self._requests)
        rows = rows_of(self._folder)
        overhead = self._costs["stage_overhead_seconds"]
        _say_conditions(label, overhead, rows, self._controls, self._conditions)
        _say_ties(label, rows)
        if self._cell.protocol.served is not None:
            say(f"{label}: answered {requests_per_second(rows) or 0.0:.3g} requests a second")
        if self._count_operations:
            counted = self._requests[: self._count_operations]
            with Activity(f"{label}: counting operations"):
                operations = _count(self._reranker, counted, is_remote=_is_remote(self._cell))
            self._writer.update(operations=operations)
        return False

    def _let_go(self) -> None:
        """Write the session's last entries, and close the reranker and its connections."""
        noted = self._noted or self._conditions_noted()
        if self._reranker is not None:  # an endpoint tells only with its answers what it runs
            noted["described"] = self._reranker.describe() | self._checked
            self._describe(self._reranker)
            for connection in self._connections or [self._reranker]:
                try:
                    connection.close()
                except BackendError as error:  # an answer could not be kept
                    self.failure = self.failure or error
            self._reranker, self._connections, self._calls = None, [], iter(())
        if self._tab is not None and (self._tab.spent or self._budget is None):
            noted["dollars_paid"] = self._tab.spent
        self._writer.update_session(**noted)

    def _describe(self, reranker: Reranker) -> None:
        """Write the reranker's own description, with the checks' results, to the record."""
        described = {**reranker.describe(), **self._checked}
        system: System = self._writer.record.system.model_copy(update={"described": described})
        self._writer.update(system=system)

    def _conditions_noted(self) -> dict[str, Any]:
        """Return the session's samples and, if the cell ran alone, its peak memory and energy."""
        joules = self._conditions.end() if self._conditions else None
        noted: dict[str, Any] = {"samples": tuple(self._conditions.samples) if self._conditions else ()}
        if not self._alone:
            return noted
        memory = self._memory
        peaks = {
            "host_bytes_before": memory.before_bytes,
            "peak_host_bytes": memory.host_bytes(),
            "peak_device_bytes": memory.device_bytes(),
        }
        return {**noted, **peaks, "device_joules": joules}


def explain(error: Exception) -> str:
    """Return an error's message as one line, with its type unless it is an error of this project."""
    line = as_line(" ".join(str(error).split())) or "no reason given"
    return line if isinstance(error, RerankbenchError) else f"{type(error).__name__}: {line}"


def _say_conditions(
    label: str,
    stage_overhead: float,
    rows: Sequence[QueryRow],
    controls: Sequence[float],
    conditions: Conditions,
) -> None:
    """Print a warning for each condition that may have changed a cell's latencies noticeably.

    Args:
        label: the system's label.
        stage_overhead: seconds that timing one stage takes; reported if it is over 1 % of the latency.
        rows: the cell's rows.
        controls: seconds of the identity control's calls; reported if p95 is over 1.5 times the median.
        conditions: the cell's conditions, whose samples tell whether a GPU was slowed down.
    """
    timed = sum(stage_overhead * len(row.stage_seconds) for row in rows)
    share = timed / (sum(row.total_seconds for row in rows) or 1.0)
    if share > _SMALL:
        say(f"{label}: reading the clock at each stage took about {100 * share:.0f} % of its latency")
    spread = noise(controls)
    if spread is not None and spread > _BUSY:
        say(
            f"{label}: the machine was busy with other work. The same call took {100 * spread:.0f} % longer "
            "at its p95 than at its median"
        )
    for reason in throttling(conditions.samples):
        say(f"{label}: a GPU was slowed down while it measured: {reason}")


def _say_ties(label: str, rows: Sequence[QueryRow]) -> None:
    """Print the number of queries whose first ten ranks hold tied scores, if there are any."""
    tied = sum(row.repeat == 0 and bool(row.usage.get("ties")) for row in rows)
    if tied:
        say(f"{label}: first ten ranks of {tied} queries tie; the first stage's order decides there")


def _count(reranker: Reranker, requests: Sequence[RerankRequest], *, is_remote: bool) -> Operations:
    """Count a reranker's FLOPs and bytes on some requests, by stage.

    Nothing is counted for endpoints, which compute elsewhere and cost money, and where torch is not loaded.
    """
    if is_remote or "torch" not in sys.modules:
        return Operations(queries=0, flops={}, bytes={})
    from benchmarks.measuring.operations import count_operations

    return count_operations(reranker, requests)


def _construct(cell: CellPlan, pool: Pool) -> Reranker:
    """Construct the cell's reranker from its options, with the judgements if it needs them."""
    qrels = {"qrels": pool.qrels} if options_model(cell.reranker).needs_qrels else {}
    return create(cell.reranker, {**cell.options, **qrels})


def _connections(reranker: Reranker, cell: CellPlan) -> list[Reranker]:
    """Return the reranker and, for a served endpoint, one connection for each request under way."""
    served = cell.protocol.served
    if served is None or not _is_remote(cell):
        return [reranker]
    count = served.concurrency or SERVED_AT_ONCE
    return [reranker, *(reranker.connection() for _ in range(count - 1))]


def _is_remote(cell: CellPlan) -> bool:
    """Return whether the cell's reranker calls an endpoint."""
    return validated(cell.reranker, cell.options).is_remote


def _synchroniser(reranker: Reranker) -> Callable[[], None]:
    """Return the function that waits until the reranker's device is idle; it does nothing on a CPU."""
    if str(reranker.device) == "cpu":
        return lambda: None  # without importing torch, which a reranker on a CPU may not need
    from rerankers.models.devices import synchroniser

    return synchroniser(reranker.device)


def _without_frames(error: Exception) -> Exception:
    """Drop the tracebacks of an error and its causes, and return it.

    Frames keep the model in memory, which has to leave before the next one loads.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
