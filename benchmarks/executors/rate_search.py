"""Searches the highest request rate at which a system keeps an SLO; each rate tried is a cell of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measuring.progress import say
from benchmarks.measuring.slo import Tried, capacity_of, highest_kept, is_few, next_rate
from benchmarks.results.cell_lines import committed
from benchmarks.results.cell_record import is_finished
from benchmarks.results.record import Served
from rerankers.registry import role_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.experiments.config import Experiment
    from benchmarks.experiments.plan import CellPlan
    from benchmarks.results.record import QueryRow, Slo


class RateSearch:
    """The search for the highest rate that one system sustains on one candidate set.

    Args:
        alone: the system's cell with a single client.
        swept: the system's cells at the rates of the sweep, from which the search starts.
        experiment: its protocol says how requests arrive.
        folder: the result folder.
    """

    def __init__(
        self, alone: CellPlan, swept: Sequence[CellPlan], experiment: Experiment, folder: Path
    ) -> None:
        self._alone, self._cells = alone, list(swept)
        self._experiment, self._folder = experiment, folder

    def next_cell(self) -> CellPlan | None:
        """Return the cell with the next rate to measure.

        None if the search is over or one of its cells failed.
        """
        rows = self._rows(self._alone)
        if rows is None or not rows or not Tried.of(rows, self._slo).is_kept:
            return None
        tried = self._tried()
        if tried is None:
            return None
        rate = next_rate(capacity_of(rows), tried)
        spec = self._experiment.protocol.served
        if rate is None or spec is None:
            return None
        load = Served(rate=rate, arrivals=spec.arrivals, concurrency=spec.most, slo=spec.slo)
        cell = self._alone.at(self._experiment.protocol.at(load))
        self._cells.append(cell)
        return cell

    def outcome(self) -> str:
        """Return a sentence with the highest rate that keeps the SLO and the lowest that misses it."""
        rows, tried = self._rows(self._alone), self._tried()
        if not rows or tried is None:
            return f"{self._alone.system}: the search for the highest load that keeps {self._slo} did not end"
        kept, missed = highest_kept(tried)
        few = f"; {len(rows)} requests are few for p{self._slo.percentile:g}: raise protocol.repeats"
        caveat = few if is_few(len(rows), self._slo) else ""
        if kept is None:
            alone = Tried.of(rows, self._slo)
            return (
                f"{self._alone.system}: no load keeps {self._slo}; with a single client p"
                f"{self._slo.percentile:g} is {alone.seconds:.3g} s{caveat}"
            )
        end = f", and misses it at {missed:g}" if missed is not None else ""
        return f"{self._alone.system}: keeps {self._slo} up to {kept:g} requests a second{end}{caveat}"

    @property
    def _slo(self) -> Slo:
        """The service-level objective that the search is for."""
        served = self._alone.protocol.served
        assert served is not None and served.slo is not None  # noqa: S101, PT018 - only such cells are searched
        return served.slo

    def _tried(self) -> dict[float, Tried] | None:
        """Return latency against the SLO by measured rate, in requests per second; None if a cell failed."""
        tried: dict[float, Tried] = {}
        for cell in self._cells:
            served, rows = cell.protocol.served, self._rows(cell)
            if served is None or served.rate is None or rows is None:
                return None
            tried[served.rate] = Tried.of(rows, self._slo)
        return tried

    def _rows(self, cell: CellPlan) -> list[QueryRow] | None:
        """Return the measured rows of a cell; None if it is not finished."""
        folder = self._folder / cell.name
        return committed(folder)[1] if is_finished(folder) else None


def searches_of(experiment: Experiment, cells: Sequence[CellPlan], folder: Path) -> list[RateSearch]:
    """Return one search per system and candidate set of the experiment.

    Empty without an SLO to search for.
    """
    spec = experiment.protocol.served
    if spec is None or not spec.searches_highest_rate:
        return []
    searches = []
    for cell in cells:
        if cell.protocol.served is not None and cell.protocol.served.rate is None and _is_system(cell):
            swept = [
                other
                for other in cells
                if other.pool is cell.pool and other.system == cell.system and other is not cell
            ]
            searches.append(RateSearch(cell, swept, experiment, folder))
    return searches


def say_outcomes(searches: Sequence[RateSearch]) -> None:
    """Print the outcome of each search."""
    for search in searches:
        say(search.outcome())


def _is_system(cell: CellPlan) -> bool:
    """Return whether a cell's reranker is a system, not a control or a first stage."""
    return role_of(cell.reranker) == "system"
