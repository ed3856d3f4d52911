"""The layout `significance`: differences in the headline measure between all systems, with tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.evaluation.pairwise import compare_all
from reports.formats.numbers import p_value, signed
from reports.tables.cells import Cell, Head, Note, Row, Table
from reports.tables.columns import column
from reports.tables.grouped import about

if TYPE_CHECKING:
    from benchmarks.evaluation.pairwise import Pair
    from reports.analysis.values import Context, Group
    from reports.tables.cells import Change


def tables(context: Context) -> list[Table]:
    """Build one table per judged group: row minus column, Holm-corrected over all pairs."""
    return [_table(group) for group in context.groups if group.pool.qrels]


def _table(group: Group) -> Table:
    """Build one group's table."""
    measure = group.headline
    systems = [
        system for system in group.systems if measure in system.quality.estimates and system.role != "control"
    ]
    pairs = compare_all({system.label: system.quality.per_query[measure].array for system in systems})
    differences = {
        **{pair: _difference(tested, 1) for pair, tested in pairs.items()},
        **{(second, first): _difference(tested, -1) for (first, second), tested in pairs.items()},
    }
    text = column(measure, group).text
    rows = []
    for system in systems:
        value = system.quality.estimates[measure].value
        others = (differences.get((system.label, other.label), Cell(text="")) for other in systems)
        rows.append(replace(Row.of(system, (Cell(value, text(value)), *others)), replicates=1))
    heads = [Head(measure, measure, "", f"{measure}, mean over all judged queries")]
    heads += [
        Head(f"minus:{s.label}", s.label, "Difference to", f"row minus {s.label}", number=f"({place})")
        for place, s in enumerate(systems, 1)
    ]
    tests = f"▲ ▼ significant at 5\u202f% (paired t-test, Holm-corrected over all {len(pairs)} pairs)"
    return Table(
        name=f"significance-{group.key}",
        caption=f"Differences in {measure} on {group.title} ({len(group.pool.qrels)} queries).",
        about=about(group),
        columns=tuple(heads),
        rows=tuple(rows),
        notes=(Note("Row minus column"), Note(tests)),
        warnings=group.warnings,
        group=group.key,
    )


def _difference(pair: Pair, sign: int) -> Cell:
    """Return the cell of a pair's difference, first minus second; reversed if `sign` is -1.

    It is marked better or worse if significant at 5 % after Holm's correction. Its hint has the p-values of
    all tests, the effect size, and the numbers of wins, ties and losses.
    """
    difference = sign * pair.difference
    change: Change = "" if pair.t_test_holm >= 0.05 else "better" if difference > 0 else "worse"
    wins, losses = (pair.wins, pair.losses)[::sign]
    hint = (
        f"paired t-test {p_value(pair.t_test_holm)} (Holm), {p_value(pair.t_test_bonferroni)} (Bonferroni), "
        f"{p_value(pair.t_test)} alone; "
        f"randomisation test {p_value(pair.permutation_holm)} (Holm), "
        f"{p_value(pair.permutation_bonferroni)} (Bonferroni), {p_value(pair.permutation)} alone; "
        f"Cohen's d {sign * pair.effect_size:.2f}; {wins} wins, {pair.ties} ties, {losses} losses"
    )
    return Cell(
        value=difference,
        text=signed(difference),
        change=change,
        p_value=pair.t_test,
        p_holm=pair.t_test_holm,
        hint=hint,
    )
