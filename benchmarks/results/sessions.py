"""Reads the sides of a comparison (`rerankbench compare`), and sums up each session's times.

A side of a comparison is a result folder, or a folder of result folders: one for each session, such as
`before/1`, `before/2`. A session is one process that measured the systems.
"""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.session_speed import SessionTimes
from benchmarks.measuring.conditions import noise
from benchmarks.results.store import FILES, read_results
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.results.record import QueryRow, Record, Session
    from benchmarks.results.store import Results


def read_sessions(path: Path) -> list[Results]:
    """Read one side of a comparison: a result folder, or all result folders in a folder, sorted by name.

    Raises:
        InputError: there are no results in it.
        StoreError: a file is damaged, or written by a newer version.
    """
    if _is_result_folder(path):
        return [read_results(path)]
    folders = sorted(folder for folder in path.glob("*") if _is_result_folder(folder))
    if not folders:
        raise InputError(
            f"{path}: neither a result folder nor a folder of result folders. Make one with rerankbench run "
            f"CONFIG --out {path}/1"
        )
    return [read_results(folder) for folder in folders]


def _is_result_folder(path: Path) -> bool:
    """Return whether a folder holds an experiment or a cell."""
    return (path / "experiment.json").exists() or any(
        (cell / name).exists() for cell in path.glob("*") for name in FILES
    )


def session_times(record: Record, rows: Sequence[QueryRow]) -> SessionTimes:
    """Summarise one cell: median and shortest seconds by query, machine load, and noise of the control.

    A resumed cell has several processes. It counts as one session, which began with the first of them.
    """
    seconds: dict[str, list[float]] = {}
    for row in rows:
        seconds.setdefault(row.query_id, []).append(row.total_seconds)
    measured = [record.sessions[position] for position in sorted({row.session for row in rows})]
    loads = [load for session in measured for load in loads_per_thread(session)]
    return SessionTimes(
        started_at=min((session.started_at for session in measured), default=""),
        seconds={query_id: median(values) for query_id, values in seconds.items()},
        load=fmean(loads) if loads else None,
        quickest={query_id: min(values) for query_id, values in seconds.items()},
        control_noise=noise([row.control_seconds for row in rows if row.control_seconds is not None]),
    )


def loads_per_thread(session: Session) -> list[float]:
    """Return the one-minute load averages sampled during a session, divided by the usable threads."""
    threads = session.environment.get("cpu", {}).get("usable_threads")
    states: list[dict[str, Any]] = [*session.samples] or [session.environment.get("state", {})]
    return [state["load_average"][0] / threads for state in states if threads and state.get("load_average")]
