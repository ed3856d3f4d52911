"""The layout `interpretation`: share of the reachable gain, queries won and lost, and bounds on nDCG.

The reachable gain is the difference between the first stage and the best order of the same candidates. The
lower bound on nDCG assumes that no unjudged passage among the first ranks is relevant, the upper bound that
all of them have the highest grade.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.graded import JudgedQueries, is_plain
from benchmarks.evaluation.measures import Evaluator, parse
from reports.analysis.quality import TOP
from reports.formats.numbers import count, fixed, percent
from reports.tables.cells import Cell, Head, Note, Row, Table
from reports.tables.grouped import about

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reports.analysis.values import Context, Group, SystemResult

_OUTCOMES = {"wins": "better than", "draws": "as good as", "losses": "worse than"}


def tables(context: Context) -> list[Table]:
    """Build one table per judged group that has a baseline."""
    return [_table(group) for group in context.groups if group.pool.qrels and group.baseline]


def _table(group: Group) -> Table:
    """Build one group's table."""
    measure = group.headline
    systems = [
        system for system in group.systems if measure in system.quality.estimates and system.role != "control"
    ]
    first = next((system for system in systems if system.role == "first_stage"), None)
    start = first.quality.estimates[measure].value if first else None
    candidates = _Candidates(group)
    best = candidates.reachable(measure) if first else None
    cutoff = re.fullmatch(r"nDCG@(\d+)", measure)
    depth = int(cutoff[1]) if cutoff and int(cutoff[1]) <= TOP else 0
    heads = [Head(measure, measure, "", f"{measure}, mean over all judged queries")]
    heads += [
        Head("gain", "of the reachable gain", "", "share of the way from the first stage to the best order")
    ]
    heads += [
        Head(name, name, f"Queries against {group.baseline}", f"queries {words} {group.baseline}")
        for name, words in _OUTCOMES.items()
    ]
    bounds = [("lowest", "if no unjudged passage is relevant"), ("highest", "if all have the highest grade")]
    heads += [Head(name, name, f"Bounds on {measure}", meaning) for name, meaning in bounds if depth]
    rows = []
    for system in systems:
        value = system.quality.estimates[measure].value
        cells = [Cell(value, fixed(value, 4)), _gain(value, start, best), *_outcomes(system, measure)]
        rows.append(Row.of(system, [*cells, *(candidates.bounds(system, depth) if depth else ())]))
    reached = (
        [] if best is None else [Note(f"The best order of the candidates has {measure} {fixed(best, 4)}")]
    )
    bounds_note = "Where bounds overlap, passages that were not judged may decide between two systems"
    return Table(
        name=f"interpretation-{group.key}",
        caption=f"What stands behind {measure} on {group.title} ({len(group.pool.qrels)} queries).",
        about=about(group),
        columns=tuple(heads),
        rows=tuple(rows),
        notes=(*reached, *([Note(bounds_note)] if depth else [])),
        group=group.key,
    )


def _gain(value: float, start: float | None, best: float | None) -> Cell:
    """Return the cell of a value's share of the way from `start` to `best`; empty if that is undefined."""
    if start is None or best is None or best <= start:
        return Cell()
    share = (value - start) / (best - start)
    return Cell(share, percent(share) if share >= 0 else f"\u2212{percent(-share)}")


def _outcomes(system: SystemResult, measure: str) -> list[Cell]:
    """Return the cells of queries won, tied and lost against the baseline; empty without a comparison."""
    comparison = system.quality.against.get(measure)
    if comparison is None:
        return [Cell(), Cell(), Cell()]
    counts = (comparison.wins, comparison.ties, comparison.losses)
    return [Cell(number, count(number)) for number in counts]


class _Candidates:
    """The grades of a group's candidates, from which reachable measures and bounds are computed."""

    def __init__(self, group: Group) -> None:
        pool = group.pool
        self._qrels, self._query_ids = pool.qrels, [*pool.qrels]
        self._doc_ids = {query_id: pool.candidates.doc_ids(query_id) for query_id in pool.candidates}
        self._judged = JudgedQueries(pool.qrels)
        grades, _ = self._judged.grades(self._doc_ids)  # (queries, first-stage ranks), nan: not judged
        self._grades = np.concatenate([grades, np.zeros((len(grades), 1))], axis=1)  # the last: no passage
        self._top = float(max((grade for of in pool.qrels.values() for grade in of.values()), default=0))

    def reachable(self, name: str) -> float:
        """Return a measure's mean if each query's candidates were sorted by grade."""
        measure = parse(name)
        if is_plain(measure):
            best = -np.sort(-np.where(self._grades > 0, self._grades, np.nan), axis=1)  # nan comes last
            counts = (~np.isnan(best)).sum(axis=1)
            return float(self._judged.values(measure, best, counts).mean())
        orders = {}
        for query_id, grades in self._qrels.items():
            doc_ids = {*self._doc_ids.get(query_id, ())}
            relevant = [doc_id for doc_id, grade in grades.items() if grade > 0 and doc_id in doc_ids]
            orders[query_id] = sorted(relevant, key=grades.__getitem__, reverse=True)
        (values,) = Evaluator(self._qrels, [name]).arrays(orders).values()
        return float(values.mean())

    def bounds(self, system: SystemResult, depth: int) -> list[Cell]:
        """Return the cells of a system's lower and upper bound of nDCG@depth.

        The lower one counts unjudged passages as not relevant, the upper one with the highest grade. The
        cells are empty for a system with several seeds, whose rankings differ.
        """
        if system.replicates > 1:
            return [Cell(), Cell()]
        ranks = system.quality.tops.rows(self._query_ids, depth)
        grades = np.take_along_axis(self._grades, ranks % self._grades.shape[1], axis=1)
        unjudged = np.isnan(grades)
        own_ideal = self._judged.ideal(depth)
        low = _mean_ndcg(np.where(unjudged, 0.0, grades), own_ideal)
        ideal = -np.sort(-np.concatenate([own_ideal, unjudged * self._top], axis=1), axis=1)
        high = _mean_ndcg(np.where(unjudged, self._top, grades), ideal[:, :depth])
        return [Cell(low, fixed(low, 4)), Cell(high, fixed(high, 4))]


def _mean_ndcg(gains: NDArray[np.float64], ideal: NDArray[np.float64]) -> float:
    """Return mean nDCG of gains, (queries, depth), against the ideal ones; a query without any counts 0."""
    discounts = 1.0 / np.log2(np.arange(2, gains.shape[1] + 2))
    best, reached = ideal @ discounts, gains.clip(min=0.0) @ discounts
    return float(np.divide(reached, best, out=np.zeros(len(best)), where=best > 0).mean())
