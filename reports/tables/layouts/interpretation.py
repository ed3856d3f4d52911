"""What stands behind a difference: its share of the possible gain, the queries, and how sure the grades are.

The share of the reachable gain is the way from the first stage to the best order of the same candidates. The
bounds hold for nDCG: they say what it would be if no unjudged passage among the first ranks were relevant,
and if all of them had the highest grade.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.graded import JudgedQueries
from benchmarks.evaluation.measures import Evaluator
from reports.analysis.quality import TOP
from reports.formats.numbers import count, fixed, percent
from reports.tables.cells import Cell, Head, Note, Row, Table
from reports.tables.grouped import about

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reports.analysis.values import Context, Group, SystemResult

_OUTCOMES = {"wins": "better than", "draws": "as good as", "losses": "worse than"}


def tables(context: Context) -> list[Table]:
    """Build one table for each judged group that has a baseline."""
    return [_table(group) for group in context.groups if group.pool.qrels and group.baseline]


def _table(group: Group) -> Table:
    measure = group.headline
    systems = [one for one in group.systems if measure in one.quality.estimates and one.role != "control"]
    first = next((one for one in systems if one.role == "first_stage"), None)
    start = first.quality.estimates[measure].value if first else None
    best = _reachable(group) if first else None
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
    bound = _Bounds(group, depth) if depth else None
    rows = []
    for system in systems:
        value = system.quality.estimates[measure].value
        cells = [Cell(value, fixed(value, 4)), _gain(value, start, best), *_outcomes(system, measure)]
        rows.append(Row.of(system, [*cells, *(bound.cells(system) if bound else ())]))
    reached = (
        [] if best is None else [Note(f"The best order of the candidates has {measure} {fixed(best, 4)}")]
    )
    told = "Where bounds overlap, passages that were not judged may decide between two systems"
    return Table(
        name=f"interpretation-{group.key}",
        caption=f"What stands behind {measure} on {group.title} ({len(group.pool.qrels)} queries).",
        about=about(group),
        columns=tuple(heads),
        rows=tuple(rows),
        notes=(*reached, *([Note(told)] if depth else [])),
        group=group.key,
    )


def _reachable(group: Group) -> float:
    """Return the measure of the best order of the candidates: the relevant ones, highest grade first."""
    orders, counts = {}, group.pool.candidates.counts
    for query_id, grades in group.pool.qrels.items():
        doc_ids = {*group.pool.candidates.doc_ids(query_id)} if query_id in counts else set()
        found = [doc_id for doc_id, grade in grades.items() if grade > 0 and doc_id in doc_ids]
        orders[query_id] = sorted(found, key=grades.__getitem__, reverse=True)
    (values,) = Evaluator(group.pool.qrels, [group.headline]).arrays(orders).values()
    return float(values.mean())


def _gain(value: float, start: float | None, best: float | None) -> Cell:
    if start is None or best is None or best <= start:
        return Cell()
    share = (value - start) / (best - start)
    return Cell(share, percent(share) if share >= 0 else f"\u2212{percent(-share)}")


def _outcomes(system: SystemResult, measure: str) -> list[Cell]:
    comparison = system.quality.against.get(measure)
    if comparison is None:
        return [Cell(), Cell(), Cell()]
    counts = (comparison.wins, comparison.ties, comparison.losses)
    return [Cell(number, count(number)) for number in counts]


class _Bounds:
    """Bounds on nDCG@depth of the systems of a group, whose unjudged passages may have any grade."""

    def __init__(self, group: Group, depth: int) -> None:
        pool = group.pool
        judged = JudgedQueries(pool.qrels)
        orders = {query_id: pool.candidates.doc_ids(query_id) for query_id in pool.candidates}
        grades, _ = judged.grades(orders)  # (queries, first-stage ranks), nan where nobody judged
        self._grades = np.concatenate([grades, np.zeros((len(grades), 1))], axis=1)  # the last: no passage
        self._ideal = judged.ideal(depth)
        self._top = float(max((grade for of in pool.qrels.values() for grade in of.values()), default=0))
        self._depth, self._query_ids = depth, [*pool.qrels]

    def cells(self, system: SystemResult) -> list[Cell]:
        """Return nDCG with no relevant passage among the unjudged ones, and with the highest grades."""
        if system.replicates > 1:  # whose rankings differ
            return [Cell(), Cell()]
        ranks = np.full((len(self._query_ids), self._depth), -1)
        for place, query_id in enumerate(self._query_ids):
            top = system.quality.tops.get(query_id, ())[: self._depth]
            ranks[place, : len(top)] = top
        grades = np.take_along_axis(self._grades, ranks % self._grades.shape[1], axis=1)
        unjudged = np.isnan(grades)
        low = self._mean(np.where(unjudged, 0.0, grades), self._ideal)
        ideal = -np.sort(-np.concatenate([self._ideal, unjudged * self._top], axis=1), axis=1)
        high = self._mean(np.where(unjudged, self._top, grades), ideal[:, : self._depth])
        return [Cell(low, fixed(low, 4)), Cell(high, fixed(high, 4))]

    def _mean(self, gains: NDArray[np.float64], ideal: NDArray[np.float64]) -> float:
        discounts = 1.0 / np.log2(np.arange(2, self._depth + 2))
        best, found = ideal @ discounts, gains.clip(min=0.0) @ discounts
        return float(np.divide(found, best, out=np.zeros(len(best)), where=best > 0).mean())
