"""Tables across groups and across pairs: the headline measure on every dataset, and all differences."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.evaluation.pairwise import Pair, compare_all
from reports.analysis import first_stages
from reports.formats.numbers import fixed, p_value, signed
from reports.tables.cells import Cell, Head, Row, Table, lettered, marked
from reports.tables.columns import column
from reports.tables.grouped import about

if TYPE_CHECKING:
    from reports.analysis.values import Context, Group
    from reports.tables.cells import Change


def datasets(context: Context) -> list[Table]:
    """One table a mode: the headline measure on every judged group, and its average over the datasets.

    There is no average where a dataset has several columns: it would be of no setting that anybody uses.
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
        Head(
            f"{section}, {title}" if title else section, title or section, section if title else measure, said
        )
        for section, title, said in (
            (group.dataset, title, f"{measure} on {group.title}")
            for title, group in zip(titles, groups, strict=True)
        )
    ]
    if is_averaged:
        heads.append(Head("average", "average", "", f"mean of the {len(groups)} columns before"))
    letters = lettered([systems[label].notice for label in order])
    rows = tuple(
        Row(
            label=label,
            role=systems[label].role,
            reranker=systems[label].reranker,
            status=systems[label].status,
            notes=tuple(letters[notice] for notice in [systems[label].notice] if notice),
            cells=tuple(cells[place] for cells in columns),
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
        legend=(
            "Best bold, second underlined",
            f"▲ ▼ significantly above or below {' or '.join(baselines)} "
            "(paired t-test, Holm-corrected, 5\u202f%)",
        ),
        warnings=tuple(dict.fromkeys(f"{g.dataset}: {warning}" for g in groups for warning in g.warnings)),
    )


def _where(groups: list[Group]) -> str:
    """The datasets, and what else the groups differ in."""
    names = {group.dataset for group in groups}
    varied: dict[str, set[object]] = {
        "first stage": {group.first_stage for group in groups},
        "depth": {group.depth for group in groups},
    }
    by = " and ".join(name for name, values in varied.items() if len(values) > 1)
    return f"{'every dataset' if len(names) > 1 else names.pop()}{f' by {by}' if by else ''}"


def _titles(groups: list[Group]) -> list[str]:
    """What tells each group from the others of its dataset: its first stage, its depth, or nothing."""
    short = first_stages.shortened(group.first_stage for group in groups)
    parts = [(short[group.first_stage], f"top {group.depth}") for group in groups]
    differ = [len({part[place] for part in parts}) > 1 for place in (0, 1)]
    titles = [" ".join(p for p, is_told in zip(part, differ, strict=True) if is_told) for part in parts]
    alike = len({(g.dataset, title) for g, title in zip(groups, titles, strict=True)}) < len(groups)
    return [
        f"{title} pool {group.pool.digest[:4]}".lstrip() if alike else title
        for title, group in zip(titles, groups, strict=True)
    ]


def _column(order: list[str], competing: list[bool], group: Group, measure: str) -> list[Cell]:
    by_label = {system.label: system for system in group.systems}
    cells = []
    for label in order:
        estimate = by_label[label].quality.get(measure) if label in by_label else None
        if estimate is None:
            cells.append(Cell())
            continue
        comparison = by_label[label].against.get(measure)
        deviation = by_label[label].spread.get(measure)
        significant = comparison is not None and comparison.significant
        cells.append(
            Cell(
                value=estimate.value,
                text=fixed(estimate.value, 4),
                low=estimate.low,
                high=estimate.high,
                spread=fixed(deviation, 4) if deviation is not None else "",
                deviation=deviation,
                change=("better" if comparison.difference > 0 else "worse")
                if comparison and significant
                else "",
                p_value=comparison.p_value if comparison else None,
                p_holm=comparison.p_holm if comparison else None,
            )
        )
    return marked(cells, competing, "higher")


def _values(label: str, groups: list[Group], measure: str) -> list[float]:
    return [
        system.quality[measure].value
        for group in groups
        for system in group.systems
        if system.label == label and measure in system.quality
    ]


def _average(label: str, groups: list[Group], measure: str) -> float | None:
    """Over all groups; a system that lacks one has no average, since it would be another average."""
    values = _values(label, groups, measure)
    return fmean(values) if len(values) == len(groups) else None


def _mean(value: float) -> Cell:
    return Cell(value=value, text=fixed(value, 4))


def _place(label: str, groups: list[Group], average: float | None) -> tuple[bool, bool, float]:
    """Best average first; then systems that lack a group, by what they have."""
    is_control = any(one.role == "control" for group in groups for one in group.systems if one.label == label)
    values = _values(label, groups, groups[0].headline)
    return is_control, average is None, -(fmean(values) if values else -1.0)


def _tests(pair: Pair, sign: int) -> str:
    """What is known of a pair, on hover; seen from the second system where the sign is -1."""
    wins, losses = (pair.wins, pair.losses)[::sign]
    return (
        f"paired t-test {p_value(pair.t_test_holm)} (Holm), {p_value(pair.t_test_bonferroni)} (Bonferroni), "
        f"{p_value(pair.t_test)} alone; "
        f"randomisation test {p_value(pair.permutation_holm)} (Holm), "
        f"{p_value(pair.permutation_bonferroni)} (Bonferroni), {p_value(pair.permutation)} alone; "
        f"Cohen's d {sign * pair.effect_size:.2f}; {wins} wins, {pair.ties} ties, {losses} losses"
    )


def significance(group: Group) -> Table:
    """Row minus column on the headline measure, for every pair of finished systems of a judged group.

    Holm's correction runs over all pairs.
    """
    measure = group.headline
    systems = [system for system in group.systems if measure in system.quality and system.role != "control"]
    pairs = compare_all({system.label: list(system.per_query[measure].values()) for system in systems})
    text = column(measure, group).text
    rows = []
    for system in systems:
        cells = [Cell(value=system.quality[measure].value, text=text(system.quality[measure].value))]
        for other in systems:
            if system is other:
                cells.append(Cell(text=""))
                continue
            sign = 1 if (system.label, other.label) in pairs else -1
            pair = pairs[(system.label, other.label) if sign > 0 else (other.label, system.label)]
            difference = sign * pair.difference
            change: Change = "" if pair.t_test_holm >= 0.05 else "better" if difference > 0 else "worse"
            cells.append(
                Cell(
                    value=difference,
                    text=signed(difference),
                    change=change,
                    p_value=pair.t_test,
                    p_holm=pair.t_test_holm,
                    hint=_tests(pair, sign),
                )
            )
        rows.append(Row(system.label, system.role, system.reranker, system.status, (), tuple(cells)))
    heads = [Head(measure, measure, "", f"{measure}, mean over all judged queries")]
    heads += [
        Head(f"minus:{s.label}", s.label, "Difference to", f"row minus {s.label}", number=f"({place})")
        for place, s in enumerate(systems, 1)
    ]
    count = len(list(combinations(systems, 2)))
    return Table(
        name=f"significance-{group.key}",
        caption=f"Differences in {measure} on {group.title} ({len(group.pool.qrels)} queries).",
        about=about(group),
        columns=tuple(heads),
        rows=tuple(rows),
        footnotes=(),
        legend=(
            "Row minus column",
            f"▲ ▼ significant at 5\u202f% (paired t-test, Holm-corrected over all {count} pairs)",
        ),
        warnings=group.warnings,
    )
