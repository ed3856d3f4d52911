"""Groups the cells of both sides of a comparison by system, and sums up each system's sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.evaluation.changes import SystemSessions
from benchmarks.evaluation.measures import Evaluator
from benchmarks.measuring.hardware import hardware
from benchmarks.results.sessions import session_times
from rerankers.errors import InputError
from rerankers.registry import role_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.results.record import Record
    from benchmarks.results.store import CellResult, Results


@dataclass(frozen=True, slots=True)
class SystemKey:
    """The identity of a system on some work, by which cells of different folders are matched.

    Attributes:
        work: dataset, first stage, depth and measuring mode, in words.
        pool: digest of the candidates.
    """

    label: str
    work: str
    pool: str
    measure: str

    @classmethod
    def of(cls, record: Record) -> SystemKey:
        """Return the key of a cell's record."""
        protocol = record.protocol
        mode = protocol.mode if protocol.served is None else f"{protocol.mode}, {protocol.served.load}"
        batch = f", batches of {protocol.batch_size}" if protocol.batch_size > 1 else ""
        work = f"{record.dataset}, {record.first_stage.get('kind', 'candidates')} top {record.depth}, {mode}"
        return cls(record.system.label, f"{work}{batch}", record.pool, record.measures[0])

    def __str__(self) -> str:
        return f"{self.label}, {self.work}"


def systems_of(sessions: Sequence[Results]) -> dict[SystemKey, SystemSessions]:
    """Collect measures, times and hardware of each system over some sessions.

    Failed cells and controls are left out.

    Raises:
        InputError: a session measured a system in part.
        StoreError: a ranking or a candidate set is damaged.
    """
    by_system: dict[SystemKey, list[tuple[Results, CellResult]]] = {}
    for results in sessions:
        for cell in results.cells:
            record = cell.record
            if record.status in ("running", "damaged"):
                state = "unfinished" if record.status == "running" else "damaged"
                raise InputError(
                    f"{results.folder}: {record.system.label} is {state}. Run the same experiment again"
                )
            if record.status == "done" and role_of(record.system.reranker) != "control":
                by_system.setdefault(SystemKey.of(record), []).append((results, cell))
    return {key: _sessions_of(key, cells) for key, cells in by_system.items()}


def _sessions_of(key: SystemKey, cells: Sequence[tuple[Results, CellResult]]) -> SystemSessions:
    """Return one system's headline measure by query, times and hardware, for each session.

    Measures are empty without judgements; times are empty for a first stage.
    """
    results, _ = cells[0]
    pool = results.pool(key.pool)
    evaluator = Evaluator(pool.qrels, [key.measure]) if pool.qrels else None
    measured: list[Mapping[str, float]] = []
    if evaluator is not None:
        measured = [
            evaluator.evaluate(cell.rankings.orders(evaluator.reach))[key.measure] for _, cell in cells
        ]
    timed = [cell for _, cell in cells if cell.rows and role_of(cell.record.system.reranker) == "system"]
    return SystemSessions(
        measured=measured,
        times=[session_times(cell.record, cell.rows) for cell in timed],
        hardware=frozenset(_hardware(timed)),
    )


def _hardware(cells: Sequence[CellResult]) -> Iterator[str]:
    """Yield the hardware description of every session of some cells."""
    return (hardware(session.environment) for cell in cells for session in cell.record.sessions)
