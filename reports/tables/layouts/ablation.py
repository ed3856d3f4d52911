"""The layout `ablation`: for each factor a matrix of its levels by the settings that also vary.

The level that comes first in the experiment is the baseline. The others are compared with it query by query.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.evaluation.statistics import holm, paired_t_test
from reports.analysis.comparisons.ablation import DEPTH, FIRST_STAGE, factors, level_text, words
from reports.formats.numbers import fixed, p_value, signed
from reports.tables.cells import Cell, Head, Note, Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reports.analysis.comparisons.ablation import Factor, Point
    from reports.analysis.values import Context, SystemResult
    from reports.tables.cells import Change


def tables(context: Context) -> list[Table]:
    """Build one table per factor: the headline measure at each of its levels, and the change to the first."""
    return [_table(factor, number) for number, factor in enumerate(factors(context), 1)]


def _table(factor: Factor, number: int) -> Table:
    """Build the table of one factor; `number` distinguishes its name."""
    measure = factor.series[0].points[0].group.headline
    of_pool = factor.name in (FIRST_STAGE, DEPTH)
    tests = _tests(factor)
    cells: dict[str, dict[Head, Cell]] = {}
    systems: dict[str, SystemResult] = {}
    for place, series in enumerate(factor.series):
        for level, point in enumerate(series.points):
            label = point.system.label if of_pool else _label(factor, point)
            systems.setdefault(label, point.system)
            heads = _heads(measure, series.column, level_text(point.level) if of_pool else "")
            pair = _pair(point, series.points[0], tests.get((place, level)))
            cells.setdefault(label, {}).update(zip(heads, pair, strict=True))
    columns = _in_order(
        [(series.column, level_text(point.level) if of_pool else "") for point in series.points]
        for series in factor.series
    )
    heads_with_values = [
        head
        for column, level in columns
        for head in _heads(measure, column, level)
        if any(of_row.get(head, Cell()) != Cell() for of_row in cells.values())
    ]
    rows = [
        Row(label, "reranker", systems[label].reranker, systems[label].status, (), of_row)
        for label, by_head in cells.items()
        for of_row in [tuple(by_head.get(head, Cell()) for head in heads_with_values)]
    ]
    bases = dict.fromkeys(level_text(series.points[0].level) for series in factor.series)
    return Table(
        name=f"ablation-{number}",
        caption=f"Ablation of {words(factor.name)}: {measure} at each level.",
        about={"factor": factor.name, "mode": factor.mode, "measure": measure, "pool": factor.shared},
        columns=tuple(heads_with_values),
        rows=tuple(rows),
        notes=(
            *([Note(f"All on {factor.shared}")] if factor.shared else []),
            Note(f"Change to {words(factor.name)} {' or '.join(bases)}, all other settings alike"),
            Note(
                f"▲ ▼ significant at 5\u202f% (paired t-test, Holm-corrected over the {len(tests)} changes)"
            ),
        ),
    )


def _tests(factor: Factor) -> dict[tuple[int, int], tuple[float, float]]:
    """Return (p-value, Holm-corrected p-value) of each level's change, by position of series and level."""
    positions = {
        f"{position} {level}": (position, level)
        for position, series in enumerate(factor.series)
        for level, point in enumerate(series.points)
        if level and _is_paired(point, series.points[0])
    }
    p_values = {
        key: _p(factor.series[position].points[level], factor.series[position].points[0])
        for key, (position, level) in positions.items()
    }
    corrected = holm(p_values)
    return {positions[key]: (p_values[key], corrected[key]) for key in positions}


def _in_order(pairs_by_group: Iterable[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Return the distinct (section, level) columns in order of appearance, those of one section together."""
    columns = list(dict.fromkeys(column for some in pairs_by_group for column in some))
    sections = list(dict.fromkeys(section for section, _ in columns))
    return sorted(columns, key=lambda column: sections.index(column[0]))


def _heads(measure: str, column: str, level: str) -> tuple[Head, Head]:
    """Return the headings of a value and of its change, for a candidate set and, if it varies, a level."""
    pool = ", ".join(filter(None, [column, level]))
    section = column or (measure if level else "")
    return (
        Head(f"{measure}:{pool}".rstrip(":"), level or measure, section, f"{measure} {pool}".strip()),
        Head(f"change:{pool}".rstrip(":"), "change", section, "difference to the level that comes first"),
    )


def _label(factor: Factor, point: Point) -> str:
    """Return a row's label: the system's, with the level unless the label contains it."""
    label, level = point.system.label, level_text(point.level)
    short = level.rpartition("/")[2]
    if re.search(rf"(?<!\w){re.escape(short)}(?!\w)", label):
        return label
    return f"{label} ({short})" if isinstance(point.level, str) else f"{label} ({factor.name}={level})"


def _pair(point: Point, base: Point, tests: tuple[float, float] | None) -> tuple[Cell, Cell]:
    """Return the cells of a value and of its change to the base.

    `tests` are p-value and corrected p-value.
    """
    estimate = point.system.quality.estimates[point.group.headline]
    value = Cell(value=estimate.value, text=fixed(estimate.value, 4), low=estimate.low, high=estimate.high)
    if tests is None:
        return value, Cell()
    p, p_holm = tests
    difference = estimate.value - base.system.quality.estimates[base.group.headline].value
    change: Change = "" if p_holm >= 0.05 else "better" if difference > 0 else "worse"
    hint = f"{p_value(p_holm)} (Holm), {p_value(p)} alone"
    return value, Cell(difference, signed(difference, 4), change=change, p_value=p, p_holm=p_holm, hint=hint)


def _per_query(point: Point) -> Mapping[str, float]:
    """Return the headline measure by query of a point."""
    return point.system.quality.per_query[point.group.headline]


def _is_paired(point: Point, base: Point) -> bool:
    """Return whether two points have the same headline measure on the same judged queries."""
    same = _per_query(point).keys() == _per_query(base).keys()
    return same and point.group.headline == base.group.headline


def _p(point: Point, base: Point) -> float:
    """Return the p-value of the paired t-test between two points."""
    ours, theirs = _per_query(point), _per_query(base)
    return paired_t_test(list(ours.values()), [theirs[query_id] for query_id in ours])
