"""Ablations: what changes when one setting takes another value and everything else stays.

Settings are read from the records: a reranker's options, the first stage, the depth. A setting that takes two
values or more while all others agree is a *factor*; the value that comes first in the experiment is its
baseline level, which the other levels are compared with, query by query.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.statistics import holm, paired_t_test
from reports.analysis import first_stages
from reports.formats.numbers import fixed, p_value, signed
from reports.tables.cells import Cell, Head, Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reports.analysis.values import Context, Group, SystemResult
    from reports.tables.cells import Change

# Settings beside a reranker's options, which are Python names and so never have a space in them.
FIRST_STAGE, DEPTH = "first stage", "candidate depth"
_DATASET, _RERANKER = "of dataset", "of reranker"  # no factors: tables compare methods


@dataclass(frozen=True, slots=True)
class Point:
    """A system at one level of a factor."""

    level: Any
    group: Group
    system: SystemResult


@dataclass(frozen=True, slots=True)
class Series:
    """The levels of a factor while all other settings agree, the baseline level first."""

    setting: str
    points: tuple[Point, ...]
    column: str
    """What the pool has that other series' pools have not, as a column's heading; "" where they agree."""

    @property
    def label(self) -> str:
        """The words before the setting's that all its systems' names begin with, or else their method."""
        words = [point.system.label.split() for point in self.points]
        shared = " ".join(first for first, *more in zip(*words, strict=False) if {first} == {first, *more})
        before = re.sub(rf"\W{re.escape(_words(self.setting))}\W*$", "", shared)
        return before.rstrip(" ,;:-(=") or self.points[0].system.reranker


@dataclass(frozen=True, slots=True)
class Factor:
    """One setting with all its series; `name` is the option's, `first stage` or `candidate depth`.

    `shared` is what the pools of all series have in common.
    """

    name: str
    mode: str
    series: tuple[Series, ...]
    shared: str

    @property
    def is_numeric(self) -> bool:
        """Whether the levels are numbers, so that there is a curve to draw."""
        levels = [point.level for one in self.series for point in one.points]
        return all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels)


def factors(context: Context) -> list[Factor]:
    """Every factor of the experiments, by mode, options before first stage and depth."""
    found = []
    for mode in dict.fromkeys(group.mode for group in context.groups):
        groups = [group for group in context.groups if group.mode == mode]
        short = first_stages.shortened(group.first_stage for group in groups)
        observed = [
            (_settings(group, system, short[group.first_stage]), Point(None, group, system))
            for group in groups
            for system in sorted(group.systems, key=lambda one: one.place)
            if system.role == "reranker" and group.headline in system.quality
        ]
        names = dict.fromkeys(name for settings, _ in observed for name in settings)
        for name in sorted(names.keys() - {_DATASET, _RERANKER}, key=[*names].index):
            series, shared = _series(name, observed)
            if series:
                found.append(Factor(name, mode, tuple(series), shared))
    return found


def _settings(group: Group, system: SystemResult, first_stage: str) -> dict[str, Any]:
    pool = {FIRST_STAGE: first_stage, DEPTH: group.depth}
    return {**system.options, **pool, _DATASET: group.dataset, _RERANKER: system.reranker}


def _series(name: str, observed: list[tuple[dict[str, Any], Point]]) -> tuple[list[Series], str]:
    """The series of one factor, and what their pools share; a system without the setting is at `default`."""
    fixed_settings: dict[str, dict[str, Point]] = {}
    pools: dict[str, list[str]] = {}
    for settings, point in observed:
        others = {key: value for key, value in settings.items() if key != name}
        level = settings.get(name, "default")
        key = json.dumps(others, sort_keys=True, default=str)
        levels = fixed_settings.setdefault(key, {})
        levels.setdefault(json.dumps(level, default=str), Point(level, point.group, point.system))
        parts = {_DATASET: "{}", FIRST_STAGE: "{}", DEPTH: "top {}"}
        pools[key] = [words.format(settings[part]) for part, words in parts.items() if part != name]
    several = {key: levels for key, levels in fixed_settings.items() if len(levels) > 1}
    alike = [len(set(values)) == 1 for values in zip(*(pools[key] for key in several), strict=True)]
    series = [
        Series(name, tuple(levels.values()), ", ".join(_chosen(pools[key], alike, False)))
        for key, levels in several.items()
    ]
    shared = ", ".join(part for key in [*several][:1] for part in _chosen(pools[key], alike, True))
    return series, shared


def _chosen(parts: list[str], alike: list[bool], wanted: bool) -> list[str]:
    return [part for part, is_alike in zip(parts, alike, strict=True) if is_alike == wanted]


def tables(context: Context) -> list[Table]:
    """A matrix for each factor: its levels, by what else the pools differ in."""
    return [_table(factor, number) for number, factor in enumerate(factors(context), 1)]


def _table(factor: Factor, number: int) -> Table:
    measure = factor.series[0].points[0].group.headline
    p_values = {
        f"{place} {level}": _p(point, series.points[0])
        for place, series in enumerate(factor.series)
        for level, point in enumerate(series.points)
        if level and _is_paired(point, series.points[0])
    }
    corrected = holm(p_values)
    of_pool = factor.name in (FIRST_STAGE, DEPTH)
    found: dict[str, dict[Head, Cell]] = {}
    systems: dict[str, SystemResult] = {}
    for place, series in enumerate(factor.series):
        base = series.points[0]
        for level, point in enumerate(series.points):
            label = point.system.label if of_pool else _label(factor, point)
            key = f"{place} {level}"
            tests = (p_values[key], corrected[key]) if key in p_values else None
            systems.setdefault(label, point.system)
            heads = _heads(measure, series.column, _level(point.level) if of_pool else "")
            found.setdefault(label, {}).update(zip(heads, _pair(point, base, tests), strict=True))
    columns = _in_order(
        [(series.column, _level(point.level) if of_pool else "") for point in series.points]
        for series in factor.series
    )
    shown = [
        head
        for column, level in columns
        for head in _heads(measure, column, level)
        if any(cells.get(head, Cell()) != Cell() for cells in found.values())
    ]
    rows = tuple(
        Row(
            label=label,
            role="reranker",
            reranker=systems[label].reranker,
            status=systems[label].status,
            notes=(),
            cells=tuple(cells.get(head, Cell()) for head in shown),
        )
        for label, cells in found.items()
    )
    bases = dict.fromkeys(_level(series.points[0].level) for series in factor.series)
    return Table(
        name=f"ablation-{number}",
        caption=f"Ablation of {_words(factor.name)}: {measure} at each level.",
        about={"factor": factor.name, "mode": factor.mode, "measure": measure, "pool": factor.shared},
        columns=tuple(shown),
        rows=rows,
        footnotes=(),
        legend=(
            *([f"All on {factor.shared}"] if factor.shared else []),
            f"Change to {_words(factor.name)} {' or '.join(bases)}, all other settings alike",
            f"▲ ▼ significant at 5\u202f% (paired t-test, Holm-corrected over the {len(p_values)} changes)",
        ),
        warnings=(),
    )


def _in_order(found: Iterable[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Columns as they come, those of one pool beside one another."""
    columns = list(dict.fromkeys(column for some in found for column in some))
    sections = list(dict.fromkeys(section for section, _ in columns))
    return sorted(columns, key=lambda column: sections.index(column[0]))


def _heads(measure: str, column: str, level: str) -> tuple[Head, Head]:
    """Of a value and its change: columns are pools, and levels where the pool is what varies."""
    pool = ", ".join(filter(None, [column, level]))
    section = column or (measure if level else "")
    return (
        Head(f"{measure}:{pool}".rstrip(":"), level or measure, section, f"{measure} {pool}".strip()),
        Head(f"change:{pool}".rstrip(":"), "change", section, "difference to the level that comes first"),
    )


def _label(factor: Factor, point: Point) -> str:
    """A row: the system, and the level where its own name does not say it."""
    label, level = point.system.label, _level(point.level)
    short = level.rpartition("/")[2]
    if re.search(rf"(?<!\w){re.escape(short)}(?!\w)", label):
        return label
    return f"{label} ({short})" if isinstance(point.level, str) else f"{label} ({factor.name}={level})"


def _pair(point: Point, base: Point, tests: tuple[float, float] | None) -> tuple[Cell, Cell]:
    estimate = point.system.quality[point.group.headline]
    value = Cell(value=estimate.value, text=fixed(estimate.value, 4), low=estimate.low, high=estimate.high)
    if tests is None:
        return value, Cell()
    p, p_holm = tests
    difference = estimate.value - base.system.quality[base.group.headline].value
    change: Change = "" if p_holm >= 0.05 else "better" if difference > 0 else "worse"
    hint = f"{p_value(p_holm)} (Holm), {p_value(p)} alone"
    return value, Cell(difference, signed(difference, 4), change=change, p_value=p, p_holm=p_holm, hint=hint)


def _per_query(point: Point) -> Mapping[str, float]:
    return point.system.per_query[point.group.headline]


def _is_paired(point: Point, base: Point) -> bool:
    """Whether both were measured alike on the same judged queries."""
    same = _per_query(point).keys() == _per_query(base).keys()
    return same and point.group.headline == base.group.headline


def _p(point: Point, base: Point) -> float:
    ours, theirs = _per_query(point), _per_query(base)
    return paired_t_test(list(ours.values()), [theirs[query_id] for query_id in ours])


def _level(level: Any) -> str:
    return level if isinstance(level, str) else json.dumps(level, default=str)


def _words(name: str) -> str:
    return name.replace("_", " ")
