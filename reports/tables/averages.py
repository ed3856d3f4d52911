"""The column of averages over the datasets of a table, with the test of their differences.

The average is over datasets, not over queries: a large dataset counts as much as a small one (macro average).
Parts of a larger dataset count as one. The test therefore pairs the datasets' means, one pair per dataset.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.evaluation.pairwise import TIE
from benchmarks.evaluation.statistics import holm, permutation_test
from reports.analysis.estimates import Comparison
from reports.formats.numbers import fixed, p_value, signed
from reports.tables.cells import Cell, Note
from reports.tables.grouped import change_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.analysis.values import Group

FEWEST = 6
"""Fewest datasets for a significant test: if all differ in one direction, p = 2 / 2^6 < 0.05."""


def dataset_means(label: str, groups: Sequence[Group], measure: str) -> list[float] | None:
    """Return a system's mean of a measure on each dataset, the parts of one dataset averaged.

    None if the system lacks one of the groups, since its average would be over other datasets.
    """
    units: dict[str, list[float]] = {}
    for group in groups:
        estimates = [system.quality.estimates for system in group.systems if system.label == label]
        if not estimates or measure not in estimates[0]:
            return None
        units.setdefault(_unit(group), []).append(estimates[0][measure].value)
    return [fmean(values) for values in units.values()]


def average_cells(labels: Sequence[str], groups: Sequence[Group], measure: str) -> list[Cell]:
    """Return one cell per system with its average over the groups' datasets, tested against the baseline's.

    There is no test if the groups have different baselines. A system that lacks a group has an empty cell.
    """
    means = {label: dataset_means(label, groups, measure) for label in labels}
    baselines = {group.baseline for group in groups}
    baseline = baselines.pop() if len(baselines) == 1 else None
    reference = means.get(baseline) if baseline is not None else None
    compared = {} if reference is None else _compared(means, str(baseline), reference)
    cells = []
    for label in labels:
        values, comparison = means[label], compared.get(label)
        if values is None:
            cells.append(Cell())
            continue
        cells.append(
            Cell(
                value=fmean(values),
                text=fixed(fmean(values), 4),
                change=change_of(comparison),
                p_value=comparison.p_value if comparison else None,
                p_holm=comparison.p_holm if comparison else None,
                hint="" if comparison is None else _hint(comparison, str(baseline)),
            )
        )
    return cells


def average_note(groups: Sequence[Group], column: str) -> Note:
    """Return the legend's note on a column of averages: number of datasets, and the test."""
    count = len({_unit(group) for group in groups})
    parts = ", the parts of one dataset counted as one" if count < len(groups) else ""
    suite = groups[0].suite
    of_suite = f" ({len(groups)} of the suite's {suite.datasets})" if _is_partial(groups) and suite else ""
    text = f"Average over {count} datasets{of_suite}{parts}"
    tested = f"its marks: paired randomisation test over the {count} datasets' means, Holm-corrected"
    if count < FEWEST:
        tested += f" (with fewer than {FEWEST} datasets it cannot be significant)"
    return Note(f"{text}; {tested}", frozenset({column}))


def _is_partial(groups: Sequence[Group]) -> bool:
    """Return whether groups cover only some datasets of their suite."""
    return groups[0].suite is not None and groups[0].suite.datasets > len(groups)


def _unit(group: Group) -> str:
    """Return the dataset as which a group counts in the average: the larger one if it is a part."""
    return group.suite.part_of or group.dataset if group.suite else group.dataset


def _compared(
    means: dict[str, list[float] | None], baseline: str, reference: list[float]
) -> dict[str, Comparison]:
    """Return the comparison of each system's dataset means with the baseline's, Holm-corrected, by label."""
    others = {label: values for label, values in means.items() if values is not None and label != baseline}
    p_values = {label: permutation_test(values, reference) for label, values in others.items()}
    corrected = holm(p_values)
    comparisons = {}
    for label, values in others.items():
        differences = [value - base for value, base in zip(values, reference, strict=True)]
        comparisons[label] = Comparison(
            difference=fmean(differences),
            p_value=p_values[label],
            p_holm=corrected[label],
            wins=sum(difference > TIE for difference in differences),
            ties=sum(abs(difference) <= TIE for difference in differences),
            losses=sum(difference < -TIE for difference in differences),
        )
    return comparisons


def _hint(comparison: Comparison, baseline: str) -> str:
    """Return a comparison in words: difference, p-value, wins, ties and losses."""
    return (
        f"{signed(comparison.difference, 4)} against {baseline}, {p_value(comparison.p_holm)} (Holm), paired "
        f"randomisation test over datasets; {comparison.wins} wins, {comparison.ties} ties, "
        f"{comparison.losses} losses"
    )
