"""From result folders to one frozen `Context`: the only place where a report's numbers are computed.

Cells stand in one group, hence in one table, only when they share the candidate pool and the measuring mode.
Everything is recomputed from raw rows and rankings, and nothing depends on when the report is made.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.measures import DEFAULT_MEASURES
from reports import guards, quality, timing
from reports.before_after import changes
from reports.finding import findings
from reports.provenance import experiment, hardware
from reports.values import Context, Group, Role, SystemResult
from rerankers.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.store import CellResult, Results
    from reports.values import Comparison

    Keyed = tuple[Results, CellResult]

CONTROLS = frozenset({"oracle", "random", "reverse"})  # what the registry describes as controls
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
    cells = [(folder, cell) for folder in results for cell in folder.cells]
    known = [cell.record.system.label for _, cell in cells]
    if baseline is not None and baseline not in known:
        raise UnknownNameError("system", baseline, known)
    grouped: dict[tuple[str, str, str], list[Keyed]] = {}
    for folder, cell in cells:
        record = cell.record
        grouped.setdefault((record.dataset, record.pool, record.protocol.mode), []).append((folder, cell))
    groups = tuple(
        _group(number, keyed, baseline, measures) for number, keyed in enumerate(grouped.values(), 1)
    )
    return Context(
        title=" and ".join(dict.fromkeys(cell.record.experiment for _, cell in cells)),
        groups=groups,
        experiments=tuple(experiment(folder) for folder in results),
        warnings=guards.across(results, groups),
        version=version("rerankbench"),
    )


def _group(number: int, keyed: list[Keyed], wanted: str | None, extra: Sequence[str]) -> Group:
    folder, first = keyed[0]
    record = first.record
    pool = folder.pool(record.pool)
    measures = _measures([cell for _, cell in keyed], extra)
    labelled = dict(zip(_labels(keyed), keyed, strict=True))
    values: dict[str, quality.PerQuery] = {}
    tops: dict[str, quality.Tops] = {}
    by_depth: dict[str, dict[int, float]] = {}
    rankings = quality.Rankings(pool, measures)
    for label, (_, cell) in labelled.items():
        if cell.record.status == "done":
            orders = cell.rankings.orders()  # parsed here, and not kept
            found, tops[label] = rankings.read(orders)
            if pool.qrels:
                values[label] = found
                if cell.record.is_imported and role(cell.record.system.reranker) == "reranker":
                    by_depth[label] = rankings.by_depth(orders)
    baseline = _baseline(labelled, values, wanted)
    against = quality.compare(values, baseline) if baseline else {}
    systems = [
        dataclasses.replace(
            _system(label, one, cell, tops.get(label, {}), values.get(label, {}), against.get(label, {})),
            place=place,
            by_depth=by_depth.get(label, {}),
        )
        for place, (label, (one, cell)) in enumerate(labelled.items())
    ]
    timed = [system for system in systems if system.role == "reranker" and system.latency]
    reference = next(
        (system for system in timed if system.name == wanted), max(timed, key=_p50, default=None)
    )
    if reference:
        systems = [_with_speedup(system, _p50(reference)) for system in systems]
    described = describe_first_stage(record.first_stage)
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
        reference=reference.label if reference else None,
        before=timing.before_reranking(pool),
        warnings=guards.within([cell for _, cell in keyed], systems, pool),
        findings=(),
    )
    return dataclasses.replace(group, findings=findings(group) + changes(systems, measures[0]))


def _system(
    label: str,
    folder: Results,
    cell: CellResult,
    tops: Mapping[str, tuple[int, ...]],
    values: quality.PerQuery,
    against: Mapping[str, Comparison],
) -> SystemResult:
    record = cell.record
    done = record.status == "done"
    rows = cell.rows if done else []
    counts, faulty = timing.faults(rows)
    sessions = record.sessions
    return SystemResult(
        place=0,
        label=label,
        name=record.system.label,
        reranker=record.system.reranker,
        role=role(record.system.reranker),
        cell=record.cell,
        folder=folder.folder.name,
        status=record.status,
        error=record.error,
        notice=_text(record.system.described.get("notice")),
        quality=quality.estimates(values),
        against=against,
        per_query=values,
        latency=timing.latency(rows),
        speedup=None,
        stages=timing.stages(rows),
        work=timing.work(rows) | timing.operations(record, rows),
        faults=counts,
        faulty_queries=faulty,
        measured_queries=len({row.query_id for row in cell.rows}),
        unstable=len(cell.unstable_queries()),
        tops=tops,
        by_depth={},
        query_seconds=timing.query_seconds(rows),
        load_seconds=max((s.load_seconds for s in sessions if s.load_seconds is not None), default=None),
        peak_device_bytes=max((s.peak_device_bytes for s in sessions if s.peak_device_bytes), default=None),
        peak_host_bytes=max((s.peak_host_bytes for s in sessions if s.peak_host_bytes), default=None),
        hardware=tuple(dict.fromkeys(hardware(session.environment) for session in sessions)),
        options=record.system.options,
        described=record.system.described,
    )


def role(reranker: str) -> Role:
    """What part a registered reranker plays in a comparison."""
    if reranker in CONTROLS:
        return "control"
    return "first_stage" if reranker == "first-stage" else "reranker"


def describe_first_stage(described: Mapping[str, Any]) -> str:
    """A first stage in a few words: its kind, and the parameters that the field writes beside it."""
    kind = str(described.get("kind", "first stage"))
    if kind == "run":  # another's, known by its name alone
        kind = str(described.get("name", kind))
    shown = [f"{name} {described[name]}" for name in ("k1", "b", "model") if name in described]
    name = {"bm25": "BM25"}.get(kind, kind)
    return f"{name} ({', '.join(shown)})" if shown else name


def _measures(cells: Sequence[CellResult], extra: Sequence[str]) -> tuple[str, ...]:
    asked = [measure for cell in cells for measure in cell.record.measures] or [*DEFAULT_MEASURES]
    return tuple(dict.fromkeys([*asked, *extra, JUDGED]))


def _labels(keyed: Sequence[Keyed]) -> list[str]:
    """Labels unique in the group: one that several cells carry is followed by its folder, then its cell."""
    labels = [cell.record.system.label for _, cell in keyed]
    for part in ("folder", "cell"):
        counts = Counter(labels)
        parts = [folder.folder.name if part == "folder" else cell.record.cell for folder, cell in keyed]
        labels = [
            f"{label} ({name})" if counts[label] > 1 else label
            for label, name in zip(labels, parts, strict=True)
        ]
    return labels


def _baseline(labelled: Mapping[str, Keyed], values: Mapping[str, object], wanted: str | None) -> str | None:
    """The wanted system if the group has it, else the first stage, else the first system with values."""
    names = {label: labelled[label][1].record.system for label in values}
    preferred = [label for label, system in names.items() if system.label == wanted]
    unchanged = [label for label, system in names.items() if system.reranker == "first-stage"]
    return next(iter([*preferred, *unchanged, *names]), None)


def _p50(system: SystemResult) -> float:
    return system.latency.p50.value if system.latency else 0.0


def _with_speedup(system: SystemResult, reference: float) -> SystemResult:
    if system.role != "reranker" or not _p50(system):
        return system
    return dataclasses.replace(system, speedup=reference / _p50(system))


def _place(system: SystemResult, headline: str) -> tuple[bool, bool, float, str]:
    value = system.quality[headline].value if headline in system.quality else -1.0
    return system.status != "done", system.role == "control", -value, system.label


def _text(value: object) -> str | None:
    return str(value) if value else None
