"""What stands behind a difference: its share of the possible gain, the queries, and how sure the grades are.

The share of the reachable gain is the way from the first stage to the best order of the same candidates. The
bounds hold for nDCG: they say what it would be if no unjudged passage among the first ranks were relevant,
and if all of them had the highest grade.
"""

from __future__ import annotations

import re
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.measures import Evaluator
from reports.analysis.quality import TOP
from reports.formats.numbers import count, fixed, percent
from reports.tables.cells import Cell, Head, Note, Row, Table
from reports.tables.grouped import about

if TYPE_CHECKING:
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
    rows = []
    for system in systems:
        value = system.quality.estimates[measure].value
        cells = [Cell(value, fixed(value, 4)), _gain(value, start, best), *_outcomes(system, measure)]
        rows.append(Row.of(system, [*cells, *(_bounds(group, system, depth) if depth else ())]))
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
    """Return the measure of the best order of the candidates."""
    orders = {}
    for query_id, grades in group.pool.qrels.items():
        doc_ids = group.pool.candidates.doc_ids(query_id) if query_id in group.pool.candidates else ()
        orders[query_id] = sorted(doc_ids, key=lambda doc_id: grades.get(doc_id, 0), reverse=True)
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


def _bounds(group: Group, system: SystemResult, depth: int) -> list[Cell]:
    """Return the mean nDCG without relevant passages among the unjudged ones, and with all of them so."""
    qrels = group.pool.qrels
    top = max((grade for grades in qrels.values() for grade in grades.values()), default=0)
    discounts = 1.0 / np.log2(np.arange(2, depth + 2))
    found: list[tuple[float, float]] = []
    for query_id, grades in qrels.items():
        ranks = system.quality.tops.get(query_id, ())[:depth]
        doc_ids = group.pool.candidates.doc_ids(query_id) if ranks else ()
        gains = [grades.get(doc_ids[rank]) for rank in ranks]
        unjudged = gains.count(None)
        ideal = sorted((max(0, grade) for grade in grades.values()), reverse=True)
        found.append(
            (
                _ndcg([max(0, gain or 0) for gain in gains], ideal, discounts),
                _ndcg(
                    [top if gain is None else max(0, gain) for gain in gains],
                    [*[top] * unjudged, *ideal],
                    discounts,
                ),
            )
        )
    low, high = (fmean(values) for values in zip(*found, strict=True))
    return [Cell(low, fixed(low, 4)), Cell(high, fixed(high, 4))]


def _ndcg(gains: list[int], ideal: list[int], discounts: np.ndarray) -> float:
    best = float(np.dot(sorted(ideal, reverse=True)[: len(discounts)], discounts[: len(ideal)]))
    return float(np.dot(gains, discounts[: len(gains)])) / best if best else 0.0
