"""Factors of an ablation by their effect: what each level changes, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.evaluation.statistics import holm, mean_intervals, paired_t_test
from reports.analysis.comparisons.ablation import factors, level_text, words
from reports.formats.numbers import count, dollars, fixed, p_value, signed, significant
from reports.tables.cells import Cell, Head, Note, Row, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reports.analysis.comparisons.ablation import Factor, Point, Series
    from reports.analysis.values import Context
    from reports.tables.cells import Change

MOST_SERIES = 4
"""Candidate sets of one factor that the table tells apart; of more, the ablation's own table has a matrix."""


class _Level(NamedTuple):
    """A level of a factor beside its base; `differences` are by query, None for the base itself."""

    factor: Factor
    series: Series
    point: Point
    differences: NDArray[np.float64] | None
    p: float | None


def tables(context: Context) -> list[Table]:
    """Build a table for each mode with factors, the factor of the largest effect first."""
    found = factors(context)
    modes = dict.fromkeys(factor.mode for factor in found)
    return [_table(mode, [factor for factor in found if factor.mode == mode]) for mode in modes]


def _table(mode: str, found: Sequence[Factor]) -> Table:
    blocks = sorted((_levels(factor) for factor in found), key=_effect, reverse=True)
    levels = [level for block in blocks for level in block]
    tested = {str(place): level.p for place, level in enumerate(levels) if level.p is not None}
    corrected = holm(tested)
    measure = levels[0].point.group.headline
    rows = [
        Row(
            _label(level),
            "reranker",
            level.point.system.reranker,
            level.point.system.status,
            (),
            (_value(level.point), *_change(level, corrected.get(str(place))), *_costs(level.point)),
        )
        for place, level in enumerate(levels)
    ]
    heads = (
        Head(measure, measure, "Effect", f"{measure}, mean over all judged queries"),
        Head("change", "change", "Effect", "difference to the factor's first level"),
        Head("interval", "interval", "Effect", "95\u202f% bootstrap interval of the change"),
        Head("p50", "p50", "Cost", "median seconds per query", "ms"),
        Head("calls", "calls", "Cost", "calls of a language model per query"),
        Head("tokens", "tokens", "Cost", "prompt and generated tokens per query"),
        Head("dollars", "dollars", "Cost", "dollars per query", "$"),
    )
    kept = [place for place, _ in enumerate(heads) if any(row.cells[place] != Cell() for row in rows)]
    return Table(
        name=f"factors-{mode}",
        caption=f"Factors by their effect on {measure}, each level against the factor's first.",
        about={"mode": mode, "measure": measure},
        columns=tuple(heads[place] for place in kept),
        rows=tuple(
            Row(row.label, row.role, row.reranker, row.status, (), tuple(row.cells[place] for place in kept))
            for row in rows
        ),
        notes=(
            Note("The factor with the largest change stands first"),
            Note("Interval of the change: 95\u202f% bootstrap over queries", frozenset({"change"})),
            Note(
                f"▲ ▼ significant at 5\u202f% (paired t-test, Holm-corrected over the {len(tested)} changes)"
            ),
        ),
    )


def _levels(factor: Factor) -> list[_Level]:
    found = []
    for series in factor.series[:MOST_SERIES]:
        base = series.points[0]
        found.append(_Level(factor, series, base, None, None))
        for point in series.points[1:]:
            ours, theirs = (one.system.quality.per_query[one.group.headline] for one in (point, base))
            if ours.keys() != theirs.keys() or point.group.headline != base.group.headline:
                continue
            pairs = [(ours[query_id], theirs[query_id]) for query_id in ours]
            differences = np.array([one - other for one, other in pairs])
            p = paired_t_test([one for one, _ in pairs], [other for _, other in pairs])
            found.append(_Level(factor, series, point, differences, p))
    return found


def _effect(levels: Sequence[_Level]) -> float:
    """Return the largest change of a factor, whatever its direction."""
    changes = [abs(float(one.differences.mean())) for one in levels if one.differences is not None]
    return max(changes, default=0.0)


def _label(level: _Level) -> str:
    text = f"{words(level.factor.name)}: {level_text(level.point.level)}"
    base = " (base)" if level.differences is None else ""
    several = len(level.factor.series) > 1
    where = ", ".join(filter(None, [level.series.label if several else "", level.series.column]))
    return f"{text}{base}, {where}" if where else f"{text}{base}"


def _value(point: Point) -> Cell:
    estimate = point.system.quality.estimates[point.group.headline]
    deviation = point.system.quality.spread.get(point.group.headline)
    return Cell(
        value=estimate.value,
        text=fixed(estimate.value, 4),
        low=estimate.low,
        high=estimate.high,
        spread="" if deviation is None else fixed(deviation, 4),
        deviation=deviation,
    )


def _change(level: _Level, p_holm: float | None) -> tuple[Cell, Cell]:
    if level.differences is None or level.p is None or p_holm is None:
        return Cell(), Cell()
    mean = float(level.differences.mean())
    [(low, high)] = mean_intervals([level.differences])
    change: Change = "" if p_holm >= 0.05 else "better" if mean > 0 else "worse"
    interval = f"{signed(low, 4)}–{signed(high, 4)}"
    change_cell = Cell(
        value=mean,
        text=signed(mean, 4),
        low=low,
        high=high,
        change=change,
        p_value=level.p,
        p_holm=p_holm,
        interval=interval,
        hint=f"95\u202f% interval {interval}; {p_value(p_holm)} (Holm), {p_value(level.p)} alone",
    )
    return change_cell, Cell(text=f"[{signed(low, 3)}, {signed(high, 3)}]")


def _costs(point: Point) -> tuple[Cell, Cell, Cell, Cell]:
    counts, latency = point.system.work.counts, point.system.timing.latency
    milliseconds = None if latency is None else 1e3 * latency.p50.value
    tokens = counts.get("prompt_tokens", 0) + counts.get("generated_tokens", 0)
    calls, spent = counts.get("llm_calls"), counts.get("dollars")
    return (
        Cell() if milliseconds is None else Cell(value=milliseconds, text=significant(milliseconds)),
        Cell(value=calls, text=count(calls)) if calls else Cell(),
        Cell(value=tokens, text=count(tokens)) if tokens else Cell(),
        Cell(value=spent, text=dollars(spent)) if spent else Cell(),
    )
