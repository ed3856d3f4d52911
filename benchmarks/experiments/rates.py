"""The rates of an earlier run, from which a dry run tells hours and dollars, and their sum by system."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.results.cell_lines import committed
from benchmarks.results.cell_record import check_seal, read_record
from rerankers.errors import DamagedError
from rerankers.text.quantities import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.experiments.plan import CellPlan
    from benchmarks.results.record import Record


@dataclass(frozen=True, slots=True)
class Rate:
    """Time, memory and dollars of a system in an earlier run.

    Seconds and dollars are per query; `start_seconds` is loading and warm-up, `done` the number of rows.
    """

    query_seconds: float
    start_seconds: float
    memory_bytes: int | None
    query_dollars: float
    done: int


def find_rate(cell: CellPlan, folders: Sequence[Path]) -> Rate | None:
    """Return a system's rate: that of the same cell in the first folder, else of the cell with most rows.

    None if there are none. Seconds and dollars are scaled to the cell's depth.

    Args:
        cell: the cell that is to be run.
        folders: result folders, the cell's own first.
    """
    best: Rate | None = None
    for place, folder in enumerate(folders):
        for path in sorted(folder.glob("*/record.json")):
            rate, is_this_cell = _rate_of(path.parent, cell)
            if rate is not None and is_this_cell and place == 0:
                return rate
            if rate is not None and (best is None or best.done < rate.done):
                best = rate
    return (
        None
        if best is None
        else Rate(best.query_seconds, best.start_seconds, best.memory_bytes, best.query_dollars, 0)
    )


def _rate_of(measured: Path, cell: CellPlan) -> tuple[Rate | None, bool]:
    """Return the rate in a cell's folder, None for another system, and whether it is the cell itself."""
    try:
        record = read_record(measured)
        if record is None or not _is_same_system(record, cell) or not record.sessions:
            return None, False
        check_seal(measured, record)
        rows = committed(measured)[1]
    except DamagedError:
        return None, False
    if not rows:
        return None, False
    scale = cell.pool.depth / record.depth
    session = record.sessions[-1]
    rate = Rate(
        scale * fmean(row.total_seconds for row in rows),
        (session.load_seconds or 0.0) + sum(session.warmup_seconds),
        session.peak_device_bytes or session.host_bytes or session.peak_host_bytes,
        scale * fmean(row.usage.get("dollars", 0.0) for row in rows),
        len(rows),
    )
    return rate, record.cell == cell.name


def _is_same_system(record: Record, cell: CellPlan) -> bool:
    """Return whether a record is of the cell's reranker, options and mode, and was not imported."""
    return (
        record.system.reranker == cell.reranker
        and record.system.options == json.loads(json.dumps(cell.options, default=str))
        and record.protocol.mode == cell.protocol.mode
        and not record.is_imported
    )


@dataclass
class Bill:
    """Hours and dollars of cells, added up by system.

    Attributes:
        dollars_per_hour: the price of the machine; None leaves its dollars out.
    """

    dollars_per_hour: float | None = None
    _cells: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, label: str, seconds: float | None, dollars: float | None) -> None:
        """Add a cell of a system: seconds of this machine and dollars of endpoints, None if unknown."""
        if seconds is not None or dollars is not None:
            self._cells.setdefault(label, []).append((seconds or 0.0, dollars or 0.0))

    def lines(self) -> Iterator[str]:
        """Yield one line for each system with several cells: their number, time and dollars."""
        for label, cells in self._cells.items():
            if len(cells) > 1:
                yield "; ".join([f"{label}: {len(cells)} cells", *self._words(cells)])

    def total(self) -> list[str]:
        """Return time and dollars of all cells in words; empty where nothing is known."""
        return self._words([cell for cells in self._cells.values() for cell in cells])

    def _words(self, cells: Sequence[tuple[float, float]]) -> list[str]:
        """Return the sums of seconds and dollars in words, without those that are zero."""
        seconds, dollars = (sum(values) for values in zip(*cells, strict=True)) if cells else (0.0, 0.0)
        words = [f"about {duration(seconds)}"] if seconds else []
        if seconds and self.dollars_per_hour is not None:
            words.append(f"about ${seconds / 3600 * self.dollars_per_hour:.2f} for the machine")
        return words + ([f"about ${dollars:.2f}"] if dollars else [])
