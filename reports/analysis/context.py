"""From result folders to one frozen `Context`: the only place where a report's numbers are computed.

Cells stand in one group, hence in one table, only when they share the candidate pool and the measuring mode.
Everything is recomputed from raw rows and rankings, and nothing depends on when the report is made.
"""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks.evaluation.measures import DEFAULT_MEASURES
from benchmarks.results.store import at_ranking_line
from reports.analysis import caveats as guards
from reports.analysis import first_stages, quality, timing
from reports.analysis.before_after import changes
from reports.analysis.cleaning import cleaned
from reports.analysis.finding import findings
from reports.analysis.provenance import experiment
from reports.analysis.systems import families, mean_values, names, role, system
from reports.analysis.values import Context, Group, SystemResult
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from benchmarks.results.record import QueryRow
    from benchmarks.results.store import CellResult, Results
    from reports.analysis.systems import Keyed

JUDGED = "Judged@10"  # always computed: a low value says that nDCG@10 counted unjudged passages as bad


def build(results: Sequence[Results], baseline: str | None = None, measures: Sequence[str] = ()) -> Context:
    """Compute everything that a report over these folders shows.

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
    known = [name for keyed in grouped.values() for one in families(keyed).items() for name in names(*one)]
    if baseline is not None and baseline not in known:
        raise UnknownNameError("system", baseline, known)
    groups = tuple(
        _group(number, keyed, baseline, measures) for number, keyed in enumerate(grouped.values(), 1)
    )
    return Context(
        title=_title([cell for _, cell in cells]),
        groups=groups,
        experiments=tuple(experiment(folder) for folder in results),
        warnings=guards.across(results, groups),
        version=version("rerankbench"),
    )


def _title(cells: Sequence[CellResult]) -> str:
    """The experiments' names; what was imported beside them came without one."""
    measured = dict.fromkeys(cell.record.experiment for cell in cells if not cell.record.is_imported)
    return " and ".join(measured) or "Imported runs"


def _with_one_first_stage(keyed: list[Keyed]) -> list[Keyed]:
    """With one cell that keeps the order of the pool, measured rather than imported; all would be alike."""
    alike = [one for one in keyed if role(one[1].record.system.reranker) == "first_stage"]
    chosen = min(alike, key=_is_unusable, default=None)
    return [one for one in keyed if one is chosen or role(one[1].record.system.reranker) != "first_stage"]


def _is_unusable(one: Keyed) -> tuple[bool, bool]:
    record = one[1].record
    return record.status != "done", record.is_imported


def _group(number: int, keyed: list[Keyed], wanted: str | None, extra: Sequence[str]) -> Group:
    folder, first = keyed[0]
    record = first.record
    pool = folder.pool(record.pool)
    measures = _measures([cell for _, cell in keyed], extra)
    labelled = families(keyed)
    values: dict[str, list[quality.PerQuery]] = {}
    tops: dict[str, quality.Tops] = {}
    by_depth: dict[str, dict[int, float]] = {}
    rankings = quality.Rankings(pool, measures)
    for label, family in labelled.items():
        for _, cell in family if family[0][1].record.status == "done" else ():
            orders = rankings.parse(cell.rankings)  # and not kept
            try:
                found, heads = rankings.read(orders)
            except quality.UnfitRankingError as error:
                raise at_ranking_line(
                    folder.folder / cell.record.cell,
                    error.query_id,
                    error.doc_id,
                    error.occurrence,
                    str(error),
                ) from error
            tops.setdefault(label, heads)
            if pool.qrels:
                values.setdefault(label, []).append(found)
                if cell.record.is_imported and role(cell.record.system.reranker) == "reranker":
                    by_depth[label] = rankings.by_depth(cell.rankings.orders())
    baseline = _baseline(labelled, values, wanted)
    means = {label: mean_values(found) for label, found in values.items()}
    against = quality.compare(means, baseline) if baseline else {}
    systems = [
        system(
            label,
            place,
            family,
            tops.get(label, {}),
            by_depth.get(label, {}),
            values.get(label, []),
            against.get(label, {}),
        )
        for place, (label, family) in enumerate(labelled.items())
    ]
    timed = [one for one in systems if one.role == "reranker" and one.latency]
    reference = next(
        (one for one in timed if wanted in names(one.label, labelled[one.label])),
        max(timed, key=_p50, default=None),
    )
    if reference:
        calls = {one.label: [row for _, cell in labelled[one.label] for row in cell.rows] for one in timed}
        systems = [_with_speedup(one, calls, reference.label) for one in systems]
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
        systems=tuple(sorted(systems, key=lambda one: _place(one, measures[0]))),
        baseline=baseline,
        reference=reference.label if reference else None,
        before=timing.before_reranking(pool),
        warnings=guards.within([cell for _, cell in keyed], systems, pool),
        findings=(),
    )
    regressions, others = changes(systems, measures[0])
    return dataclasses.replace(group, findings=(*regressions, *findings(group), *others))


def _measures(cells: Sequence[CellResult], extra: Sequence[str]) -> tuple[str, ...]:
    asked = [measure for cell in cells for measure in cell.record.measures] or [*DEFAULT_MEASURES]
    return tuple(dict.fromkeys([*asked, *extra, JUDGED]))


def _baseline(labelled: Mapping[str, list[Keyed]], values: Collection[str], wanted: str | None) -> str | None:
    """The wanted system if the group has it, else the first stage, else the first system with values."""
    preferred = [label for label in values if wanted in names(label, labelled[label])]
    unchanged = [label for label in values if labelled[label][0][1].record.system.reranker == "first-stage"]
    return next(iter([*preferred, *unchanged, *values]), None)


def _p50(system: SystemResult) -> float:
    return system.latency.p50.value if system.latency else 0.0


def _with_speedup(
    system: SystemResult, calls: Mapping[str, Sequence[QueryRow]], reference: str
) -> SystemResult:
    if system.label not in calls or not _p50(system):
        return system
    return dataclasses.replace(system, speedup=timing.speedup(calls[reference], calls[system.label]))


def _place(system: SystemResult, headline: str) -> tuple[bool, bool, float, str]:
    value = system.quality[headline].value if headline in system.quality else -1.0
    return system.status != "done", system.role == "control", -value, system.label
