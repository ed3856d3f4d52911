"""The computation of a report's numbers, from result folders to one frozen `Context`.

Cells stand in one group, hence in one table, only when they share the candidate set and the measuring mode.
Everything is recomputed from raw rows and rankings, and nothing depends on when the report is made.
"""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks.evaluation.measures import DEFAULT_MEASURES
from benchmarks.evaluation.resampling import forget_draws
from benchmarks.results.store import at_ranking_line
from reports.analysis import caveats, first_stages, quality, timing
from reports.analysis.cleaning import cleaned
from reports.analysis.comparisons.before_after import changes
from reports.analysis.comparisons.judges import finding, further_judges
from reports.analysis.comparisons.loads import capacities
from reports.analysis.finding import findings
from reports.analysis.provenance import experiment
from reports.analysis.systems import families, names, role, system
from reports.analysis.values import Context, Group, SystemResult
from rerankers.errors import UnknownNameError
from rerankers.progress.activities import Activity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from benchmarks.results.store import CellResult, Results
    from reports.analysis.systems import Keyed

JUDGED = "Judged@10"  # always computed: a low value says that nDCG@10 counted unjudged passages as bad


def build(results: Sequence[Results], baseline: str | None = None, measures: Sequence[str] = ()) -> Context:
    """Compute everything that a report over result folders shows.

    Args:
        results: folders as read, in the order to show them.
        baseline: label of the system that tests, differences and speed-ups refer to; by default the first
            stage, or else the group's first system, and for speed-ups the slowest.
        measures: measures beside those that the experiments asked for.

    Raises:
        UnknownNameError: no cell carries the label `baseline`.
    """
    results = [cleaned(folder) for folder in results]
    cells = [(folder, cell) for folder in results for cell in folder.cells]
    grouped: dict[tuple[str, str, str], list[Keyed]] = {}
    for folder, cell in cells:
        record = cell.record
        keyed = grouped.setdefault((record.dataset, record.pool, record.protocol.mode), [])
        keyed.append((folder, cell))
    grouped = {key: _with_one_first_stage(keyed) for key, keyed in grouped.items()}
    system_names = [
        name for keyed in grouped.values() for family in families(keyed).items() for name in names(*family)
    ]
    if baseline is not None and baseline not in system_names:
        raise UnknownNameError("system", baseline, system_names)
    groups: list[Group] = []
    with Activity("computing measures, intervals and tests", len(grouped), unit="table") as progress:
        for number, keyed in enumerate(grouped.values(), 1):
            groups.append(_group(number, keyed, baseline, measures))
            progress.advance()
    forget_draws()
    return Context(
        title=_title([cell for _, cell in cells]),
        groups=tuple(groups),
        experiments=tuple(experiment(folder) for folder in results),
        warnings=caveats.across(results, tuple(groups)),
        version=version("rerankbench"),
    )


def _title(cells: Sequence[CellResult]) -> str:
    """Return the names of the experiments that measured the cells; "Imported runs" if none did."""
    measured = dict.fromkeys(cell.record.experiment for cell in cells if not cell.record.is_imported)
    return " and ".join(measured) or "Imported runs"


def _with_one_first_stage(keyed: list[Keyed]) -> list[Keyed]:
    """Drop all but one of the cells that keep the first stage's order, because they would all be alike.

    A finished and measured cell is preferred to an imported one.
    """
    alike = [entry for entry in keyed if role(entry[1].record.system.reranker) == "first_stage"]
    chosen = min(alike, key=_is_unusable, default=None)
    return [
        entry for entry in keyed if entry is chosen or role(entry[1].record.system.reranker) != "first_stage"
    ]


def _is_unusable(entry: Keyed) -> tuple[bool, bool]:
    """Return a sort key of a cell that puts finished cells first, and measured ones before imported ones."""
    record = entry[1].record
    return record.status != "done", record.is_imported


def _group(number: int, keyed: list[Keyed], wanted: str | None, extra: Sequence[str]) -> Group:
    """Compute the numbers of one group.

    Args:
        number: its number, from 1, for its key.
        keyed: its cells, each with its folder.
        wanted: label of the baseline that was asked for, or None.
        extra: measures beside those that the experiments asked for.
    """
    folder, first = keyed[0]
    record = first.record
    pool = folder.pool(record.pool)
    measures = _measures([cell for _, cell in keyed], extra)
    labelled = families(keyed)
    systems, calls = _systems(labelled, quality.Rankings(pool, measures))
    baseline = _baseline(labelled, [system.label for system in systems if system.quality.per_query], wanted)
    reference = _reference(labelled, systems, wanted)
    systems = _against_speedup_reference(_against_baseline(systems, baseline), calls, reference)
    described = first_stages.describe(record.first_stage)
    group = Group(
        key=f"g{number}",
        title=f"{record.dataset}, {described} top {record.depth}",
        dataset=record.dataset,
        first_stage=described,
        depth=record.depth,
        mode=record.protocol.mode,
        pool=pool,
        measures=measures,
        systems=tuple(sorted(systems, key=lambda system: _place(system, measures[0]))),
        baseline=baseline,
        reference=reference,
        before=timing.before_reranking(pool),
        warnings=caveats.within([cell for _, cell in keyed], systems, pool),
        findings=(),
        suite=record.suite,
        judges=further_judges(labelled, pool, measures, baseline),
    )
    regressions, others = changes(systems, measures[0])
    filled = [finding(judge, group.systems, group.headline) for judge in group.judges]
    sentences = (*regressions, *findings(group), *capacities(group), *filter(None, filled), *others)
    return dataclasses.replace(group, findings=sentences)


def _systems(
    labelled: Mapping[str, list[Keyed]], rankings: quality.Rankings
) -> tuple[list[SystemResult], dict[str, timing.Calls]]:
    """Compute each system's own numbers, and collect the timed calls of rerankers by label.

    Rows and rankings of one system are in memory at a time.

    Args:
        labelled: cells, each with its folder, by system label.
        rankings: the group's candidate set and judgements.

    Returns:
        the systems in the order of `labelled`, and the calls of those that were timed.
    """
    systems: list[SystemResult] = []
    calls: dict[str, timing.Calls] = {}
    for place, (label, family) in enumerate(labelled.items()):
        read = [(folder, dataclasses.replace(cell, rows=[*cell.rows])) for folder, cell in family]
        systems.append(system(label, place, read, _ranked(family, rankings)))
        if systems[-1].role == "reranker" and systems[-1].timing.latency:
            calls[label] = timing.Calls.of([row for _, cell in read for row in cell.rows])
    return systems, calls


def _ranked(family: Sequence[Keyed], rankings: quality.Rankings) -> quality.Ranked:
    """Evaluate the rankings of a system's finished cells, after checking them against the candidates.

    Raises:
        StoreError: a ranking holds a passage twice, or one that is not a candidate of its query.
    """
    ranked = quality.Ranked()
    for folder, cell in family if family[0][1].record.status == "done" else ():
        try:
            per_query, tops = rankings.read(rankings.parse(cell.rankings))
        except quality.UnfitRankingError as error:
            path = folder.folder / cell.record.cell
            raise at_ranking_line(path, error.query_id, error.doc_id, error.occurrence, str(error)) from error
        is_imported = cell.record.is_imported and role(cell.record.system.reranker) == "reranker"
        ranked = quality.Ranked(
            replicates=(*ranked.replicates, per_query) if per_query else (),
            tops=ranked.tops or tops,
            by_depth=rankings.by_depth(cell.rankings.orders())
            if is_imported and per_query
            else ranked.by_depth,
        )
    return ranked


def _against_baseline(systems: Sequence[SystemResult], baseline: str | None) -> list[SystemResult]:
    """Return the systems with their comparisons with the baseline filled in; unchanged without a baseline.

    Controls are not compared, because what they do is known beforehand.
    """
    if baseline is None:
        return [*systems]
    means = {
        system.label: dict(system.quality.per_query)
        for system in systems
        if system.quality.per_query and (system.role != "control" or system.label == baseline)
    }
    against = quality.compare(means, baseline)
    return [
        dataclasses.replace(
            system, quality=dataclasses.replace(system.quality, against=against.get(system.label, {}))
        )
        for system in systems
    ]


def _reference(
    labelled: Mapping[str, list[Keyed]], systems: Sequence[SystemResult], wanted: str | None
) -> str | None:
    """Return the label that speed-ups refer to: the wanted system, else the slowest reranker, or None."""
    timed = [system for system in systems if system.role == "reranker" and system.timing.latency]
    named = [system for system in timed if wanted in names(system.label, labelled[system.label])]
    reference = next(iter(named), None) or max(timed, key=_p50, default=None)
    return reference.label if reference else None


def _against_speedup_reference(
    systems: Sequence[SystemResult], calls: Mapping[str, timing.Calls], reference: str | None
) -> list[SystemResult]:
    """Return the systems with their speed-ups over the reference filled in, where both were timed.

    Args:
        systems: the systems.
        calls: timed calls by label.
        reference: label of the reference, or None.
    """
    return [
        dataclasses.replace(
            system,
            timing=dataclasses.replace(
                system.timing, speedup=timing.speedup(calls[reference], calls[system.label])
            ),
        )
        if reference and system.label in calls and _p50(system)
        else system
        for system in systems
    ]


def _measures(cells: Sequence[CellResult], extra: Sequence[str]) -> tuple[str, ...]:
    """Return the measures to compute: those of the cells, the extra ones and Judged@10, each once."""
    wanted = [measure for cell in cells for measure in cell.record.measures] or [*DEFAULT_MEASURES]
    return tuple(dict.fromkeys([*wanted, *extra, JUDGED]))


def _baseline(labelled: Mapping[str, list[Keyed]], values: Collection[str], wanted: str | None) -> str | None:
    """Return the label of the baseline: the wanted system, else the first stage, else the first one; or None.

    Args:
        labelled: cells, each with its folder, by system label.
        values: labels of the systems that were evaluated.
        wanted: label or name that was asked for, or None.
    """
    preferred = [label for label in values if wanted in names(label, labelled[label])]
    unchanged = [
        label for label in values if role(labelled[label][0][1].record.system.reranker) == "first_stage"
    ]
    return next(iter([*preferred, *unchanged, *values]), None)


def _p50(system: SystemResult) -> float:
    """Return a system's median latency in seconds; 0.0 where it was not timed."""
    return system.timing.latency.p50.value if system.timing.latency else 0.0


def _place(system: SystemResult, headline: str) -> tuple[bool, bool, float, str]:
    """Return a system's sort key in its table: unfinished last, then controls, then by the headline."""
    value = system.quality.estimates[headline].value if headline in system.quality.estimates else -1.0
    return system.status != "done", system.role == "control", -value, system.label
