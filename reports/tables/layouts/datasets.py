"""The layout `datasets`: the headline measure on all datasets side by side, for each mode and suite."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from reports.analysis import first_stages
from reports.formats.numbers import fixed
from reports.tables.averages import average_cells, average_note, dataset_means
from reports.tables.cells import Cell, Head, Note, Row, Table, lettered, marked
from reports.tables.grouped import change_of, tests_against

if TYPE_CHECKING:
    from reports.analysis.values import Context, Group


def tables(context: Context) -> list[Table]:
    """Build one table per mode and suite: the headline measure on every judged group, and its average.

    An average is over groups of one setting, never over two first stages or depths, and over every dataset.
    """
    tables: dict[tuple[str, str], list[Group]] = {}
    for group in context.groups:
        if group.pool.qrels:
            suite = group.suite.name if group.suite and group.suite.datasets > 1 else ""
            tables.setdefault((group.mode, suite), []).append(group)
    return [_datasets(groups, mode, suite) for (mode, suite), groups in tables.items()]


def _datasets(groups: list[Group], mode: str, suite: str) -> Table:
    """Build the table of one mode and suite."""
    measure = groups[0].headline
    systems = {system.label: system for group in reversed(groups) for system in group.systems}
    titles = _titles(groups)
    settings = _settings(groups, titles)
    order = sorted(systems, key=lambda label: _place(label, groups))
    competing = [systems[label].role != "control" for label in order]
    columns = [_column(order, competing, group, measure) for group in groups]
    heads = [
        Head(f"{group.dataset}, {title}", title, _short(group), f"{measure} on {group.title}")
        if title
        else Head(group.dataset, _short(group), measure, f"{measure} on {group.title}")
        for title, group in zip(titles, groups, strict=True)
    ]
    notes = []
    for title, averaged in settings.items():
        columns.append(marked(average_cells(order, averaged, measure), competing, "higher"))
        name = f"average, {title}" if title else "average"
        heads.append(
            Head(name, title or name, "average" if title else "", f"mean over datasets of {measure}")
        )
        notes.append(average_note(averaged, name))
    letters = lettered([systems[label].notice for label in order])
    rows = tuple(
        replace(
            Row.of(systems[label], (cells[index] for cells in columns), letters),
            replicates=max(s.replicates for group in groups for s in group.systems if s.label == label),
        )
        for index, label in enumerate(order)
    )
    baselines = dict.fromkeys(group.baseline for group in groups if group.baseline)
    return Table(
        name=f"datasets-{suite}-{mode}" if suite else f"datasets-{mode}",
        caption=f"{measure} on {_where(groups, suite)}.",
        about={**({"suite": suite} if suite else {}), "measure": measure, "mode": mode},
        columns=tuple(heads),
        rows=rows,
        footnotes=tuple((letter, notice) for notice, letter in letters.items()),
        notes=(Note(tests_against(baselines)), *dict.fromkeys(notes)),
        warnings=tuple(dict.fromkeys(f"{g.dataset}: {warning}" for g in groups for warning in g.warnings)),
    )


def _settings(groups: list[Group], titles: list[str]) -> dict[str, list[Group]]:
    """Return the groups by setting's title, only for settings that have every dataset once."""
    datasets = {group.dataset for group in groups}
    settings: dict[str, list[Group]] = {}
    for group, title in zip(groups, titles, strict=True):
        settings.setdefault(title, []).append(group)
    return {
        title: groups_of_setting
        for title, groups_of_setting in settings.items()
        if 1 < len(groups_of_setting) == len(datasets) == len({group.dataset for group in groups_of_setting})
    }


def _short(group: Group) -> str:
    """Return a dataset's name in a heading; within a suite, without the suite's name."""
    return group.suite.title if group.suite and group.suite.datasets > 1 else group.dataset


def _where(groups: list[Group], suite: str) -> str:
    """Return the caption's words on the datasets, and on first stage or depth if they vary."""
    names = {group.dataset for group in groups}
    varied: dict[str, set[object]] = {
        "first stage": {group.first_stage for group in groups},
        "depth": {group.depth for group in groups},
    }
    by = " and ".join(name for name, values in varied.items() if len(values) > 1)
    subject = suite or ("every dataset" if len(names) > 1 else names.pop())
    return f"{subject}{f' by {by}' if by else ''}"


def _titles(groups: list[Group]) -> list[str]:
    """Return, for each group, the settings that distinguish it from others of its dataset; may be ""."""
    short = first_stages.shortened(group.first_stage for group in groups)
    parts = [(short[group.first_stage], f"top {group.depth}") for group in groups]
    differ = [len({part[index] for part in parts}) > 1 for index in (0, 1)]
    titles = [" ".join(p for p, is_varied in zip(part, differ, strict=True) if is_varied) for part in parts]
    alike = len({(g.dataset, title) for g, title in zip(groups, titles, strict=True)}) < len(groups)
    return [
        f"{title} pool {group.pool.digest[:4]}".lstrip() if alike else title
        for title, group in zip(titles, groups, strict=True)
    ]


def _column(order: list[str], competing: list[bool], group: Group, measure: str) -> list[Cell]:
    """Return a group's cells of a measure, one per label in `order`, the best of the competing marked."""
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
    """Return a system's value of a measure in each group that has it."""
    return [
        system.quality.estimates[measure].value
        for group in groups
        for system in group.systems
        if system.label == label and measure in system.quality.estimates
    ]


def _place(label: str, groups: list[Group]) -> tuple[bool, bool, float]:
    """Return a label's sort key: controls last, then systems that lack a group, then by falling average."""
    is_control = any(
        system.role == "control" for group in groups for system in group.systems if system.label == label
    )
    measure = groups[0].headline
    means = dataset_means(label, groups, measure)
    values = means or _values(label, groups, measure)
    return is_control, means is None, -(fmean(values) if values else -1.0)
