"""The headline measure on every dataset side by side, one table for each measuring mode."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from reports.analysis import first_stages
from reports.formats.numbers import fixed
from reports.tables.cells import Cell, Head, Note, Row, Table, lettered, marked
from reports.tables.grouped import change_of, tests_against

if TYPE_CHECKING:
    from reports.analysis.values import Context, Group


def tables(context: Context) -> list[Table]:
    """Build one table a mode: the headline measure on every judged group, and its average over the datasets.

    There is no average where a dataset has several columns: it would mix settings.
    """
    modes: dict[str, list[Group]] = {}
    for group in context.groups:
        if group.pool.qrels:
            modes.setdefault(group.mode, []).append(group)
    return [_datasets(groups, mode) for mode, groups in modes.items()]


def _datasets(groups: list[Group], mode: str) -> Table:
    measure = groups[0].headline
    systems = {system.label: system for group in reversed(groups) for system in group.systems}
    averages = {label: _average(label, groups, measure) for label in systems}
    order = sorted(systems, key=lambda label: _place(label, groups, averages[label]))
    competing = [systems[label].role != "control" for label in order]
    columns = [_column(order, competing, group, measure) for group in groups]
    is_averaged = 1 < len({group.dataset for group in groups}) == len(groups)
    if is_averaged:
        means = [Cell() if averages[label] is None else _mean(averages[label] or 0.0) for label in order]
        columns.append(marked(means, competing, "higher"))
    titles = _titles(groups)
    heads = [
        Head(f"{group.dataset}, {title}", title, group.dataset, f"{measure} on {group.title}")
        if title
        else Head(group.dataset, group.dataset, measure, f"{measure} on {group.title}")
        for title, group in zip(titles, groups, strict=True)
    ]
    if is_averaged:
        heads.append(Head("average", "average", "", f"mean of the {len(groups)} columns before"))
    letters = lettered([systems[label].notice for label in order])
    rows = tuple(
        replace(
            Row.of(systems[label], (cells[place] for cells in columns), letters),
            replicates=max(s.replicates for group in groups for s in group.systems if s.label == label),
        )
        for place, label in enumerate(order)
    )
    baselines = dict.fromkeys(group.baseline for group in groups if group.baseline)
    return Table(
        name=f"datasets-{mode}",
        caption=f"{measure} on {_where(groups)}.",
        about={"measure": measure, "mode": mode},
        columns=tuple(heads),
        rows=rows,
        footnotes=tuple((letter, notice) for notice, letter in letters.items()),
        notes=(Note(tests_against(baselines)),),
        warnings=tuple(dict.fromkeys(f"{g.dataset}: {warning}" for g in groups for warning in g.warnings)),
    )


def _where(groups: list[Group]) -> str:
    """Name the datasets, and the settings in which the groups differ."""
    names = {group.dataset for group in groups}
    varied: dict[str, set[object]] = {
        "first stage": {group.first_stage for group in groups},
        "depth": {group.depth for group in groups},
    }
    by = " and ".join(name for name, values in varied.items() if len(values) > 1)
    return f"{'every dataset' if len(names) > 1 else names.pop()}{f' by {by}' if by else ''}"


def _titles(groups: list[Group]) -> list[str]:
    """Return the settings that tell each group from the others of its dataset: first stage, depth,
    or none.
    """
    short = first_stages.shortened(group.first_stage for group in groups)
    parts = [(short[group.first_stage], f"top {group.depth}") for group in groups]
    differ = [len({part[place] for part in parts}) > 1 for place in (0, 1)]
    titles = [" ".join(p for p, is_varied in zip(part, differ, strict=True) if is_varied) for part in parts]
    alike = len({(g.dataset, title) for g, title in zip(groups, titles, strict=True)}) < len(groups)
    return [
        f"{title} pool {group.pool.digest[:4]}".lstrip() if alike else title
        for title, group in zip(titles, groups, strict=True)
    ]


def _column(order: list[str], competing: list[bool], group: Group, measure: str) -> list[Cell]:
    by_label = {system.label: system for system in group.systems}
    cells = []
    for label in order:
        estimate = by_label[label].quality.estimates.get(measure) if label in by_label else None
        if estimate is None:
            cells.append(Cell())
            continue
        comparison = by_label[label].quality.against.get(measure)
        deviation = by_label[label].quality.spread.get(measure)
        cells.append(
            Cell(
                value=estimate.value,
                text=fixed(estimate.value, 4),
                low=estimate.low,
                high=estimate.high,
                spread=fixed(deviation, 4) if deviation is not None else "",
                deviation=deviation,
                change=change_of(comparison),
                p_value=comparison.p_value if comparison else None,
                p_holm=comparison.p_holm if comparison else None,
            )
        )
    return marked(cells, competing, "higher")


def _values(label: str, groups: list[Group], measure: str) -> list[float]:
    return [
        system.quality.estimates[measure].value
        for group in groups
        for system in group.systems
        if system.label == label and measure in system.quality.estimates
    ]


def _average(label: str, groups: list[Group], measure: str) -> float | None:
    """Return the mean over all groups; None for a system that lacks one, which would be another mean."""
    values = _values(label, groups, measure)
    return fmean(values) if len(values) == len(groups) else None


def _mean(value: float) -> Cell:
    return Cell(value=value, text=fixed(value, 4))


def _place(label: str, groups: list[Group], average: float | None) -> tuple[bool, bool, float]:
    """Return a sort key: best average first, then systems that lack a group by the mean of the others."""
    is_control = any(one.role == "control" for group in groups for one in group.systems if one.label == label)
    values = _values(label, groups, groups[0].headline)
    return is_control, average is None, -(fmean(values) if values else -1.0)
