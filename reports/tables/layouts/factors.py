"""The layout `factors`: the levels of all factors, by the size of their effect, with their costs."""

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
"""Most series of one factor in the table; the layout `ablation` has all of them."""


class _Level(NamedTuple):
    """A level of a factor compared with the factor's first level, its base.

    `differences` are by query; they and `p` are None for the base itself.
    """

    factor: Factor
    series: Series
    point: Point
    differences: NDArray[np.float64] | None
    p: float | None


def tables(context: Context) -> list[Table]:
    """Build one table per mode that has factors, the factor with the largest effect first."""
    factors_of_context = factors(context)
    modes = dict.fromkeys(factor.mode for factor in factors_of_context)
    return [_table(mode, [factor for factor in factors_of_context if factor.mode == mode]) for mode in modes]


def _table(mode: str, mode_factors: Sequence[Factor]) -> Table:
    """Build the table of one mode's factors."""
    blocks = sorted((_levels(factor) for factor in mode_factors), key=_effect, reverse=True)
    levels = [level for block in blocks for level in block]
    tested = {str(index): level.p for index, level in enumerate(levels) if level.p is not None}
    corrected = holm(tested)
    measure = levels[0].point.group.headline
    rows = [
        Row(
            _label(level),
            "reranker",
            level.point.system.reranker,
            level.point.system.status,
            (),
            (_value(level.point), *_change(level, corrected.get(str(index))), *_costs(level.point)),
        )
        for index, level in enumerate(levels)
    ]
    heads = (
        Head(measure, measure, "Effect", f"{measure}, mean over all judged queries"),
        Head("change", "change", "Effect", "difference to the factor's first level"),
        Head("interval", "interval", "Effect", "95\u202f% bootstrap interval of the change"),
        Head("p", "p", "Effect", "p-value of the change, Holm-corrected"),
        Head("p50", "p50", "Cost", "median seconds per query", "ms"),
        Head("calls", "calls", "Cost", "calls of a language model per query"),
        Head("tokens", "tokens", "Cost", "prompt and generated tokens per query"),
        Head("dollars", "dollars", "Cost", "dollars per query", "$"),
    )
    kept = [index for index, _ in enumerate(heads) if any(row.cells[index] != Cell() for row in rows)]
    return Table(
        name=f"factors-{mode}",
        caption=f"Factors by their effect on {measure}, each level against the factor's first.",
        about={"mode": mode, "measure": measure},
        columns=tuple(heads[index] for index in kept),
        rows=tuple(
            Row(row.label, row.role, row.reranker, row.status, (), tuple(row.cells[index] for index in kept))
            for row in rows
        ),
        notes=(
            Note("The factor with the largest change stands first"),
            Note("Interval of the change: 95\u202f% bootstrap over queries", frozenset({"change"})),
            Note(
                f"▲ ▼ significant at 5\u202f% (paired t-test, Holm-corrected over the {len(tested)} changes)"
            ),
        ),
        row_title="Factor and level",
    )


def _levels(factor: Factor) -> list[_Level]:
    """Return a factor's levels, each compared with the base of its series by a paired t-test.

    Levels on other queries than the base are left out.
    """
    levels = []
    for series in factor.series[:MOST_SERIES]:
        base = series.points[0]
        levels.append(_Level(factor, series, base, None, None))
        for point in series.points[1:]:
            ours, theirs = (
                ours_value.system.quality.per_query[ours_value.group.headline] for ours_value in (point, base)
            )
            if ours.keys() != theirs.keys() or point.group.headline != base.group.headline:
                continue
            pairs = [(ours[query_id], theirs[query_id]) for query_id in ours]
            differences = np.array([ours_value - other for ours_value, other in pairs])
            p = paired_t_test([ours_value for ours_value, _ in pairs], [other for _, other in pairs])
            levels.append(_Level(factor, series, point, differences, p))
    return levels


def _effect(levels: Sequence[_Level]) -> float:
    """Return the largest absolute change of a factor's levels."""
    changes = [abs(float(level.differences.mean())) for level in levels if level.differences is not None]
    return max(changes, default=0.0)


def _label(level: _Level) -> str:
    """Return a level's row label: factor, level, and candidate set if the factor has several."""
    text = f"{words(level.factor.name)}: {level_text(level.point.level)}"
    base = " (base)" if level.differences is None else ""
    several = len(level.factor.series) > 1
    where = ", ".join(filter(None, [level.series.label if several else "", level.series.column]))
    return f"{text}{base}, {where}" if where else f"{text}{base}"


def _value(point: Point) -> Cell:
    """Return the cell of a point's headline measure."""
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


def _change(level: _Level, p_holm: float | None) -> tuple[Cell, Cell, Cell]:
    """Return the cells of a level's change, its bootstrap interval and its p-value; empty for the base."""
    if level.differences is None or level.p is None or p_holm is None:
        return Cell(), Cell(), Cell()
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
    written = p_value(p_holm).removeprefix("p\u00a0").removeprefix("=\u00a0")
    return change_cell, Cell(text=f"[{signed(low, 3)}, {signed(high, 3)}]"), Cell(text=written)


def _costs(point: Point) -> tuple[Cell, Cell, Cell, Cell]:
    """Return the cells of a point's median latency, LLM calls, tokens and dollars per query."""
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
