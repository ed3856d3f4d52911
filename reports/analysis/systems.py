"""The numbers of one system of a group, computed from its cells, one for each seed.

Cells that differ in nothing but their seed are replicates: they make one system, whose value on a query is
the mean over them, and whose measures carry the standard deviation over them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import takewhile
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measuring import conditions
from benchmarks.measuring.hardware import hardware
from benchmarks.results.sessions import loads_per_thread
from reports.analysis import first_stages, quality, timing
from reports.analysis.comparisons import loads as loads_of
from reports.analysis.comparisons.by_query import ByQuery
from reports.analysis.values import Provenance, Quality, Role, SystemResult, Timing, Work
from rerankers.registry import role_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.results.record import QueryRow, Session
    from benchmarks.results.store import CellResult, Results

    Keyed = tuple[Results, CellResult]

SEED = "seed"
_ROLES: dict[str, Role] = {"control": "control", "first stage": "first_stage", "system": "reranker"}


def role(reranker: str) -> Role:
    """Return a reranker's role in a comparison: `control`, `first_stage`, or else `reranker`."""
    return _ROLES[role_of(reranker)]


def families(keyed: Sequence[Keyed]) -> dict[str, list[Keyed]]:
    """Group cells, each with its folder, into systems by unique label, in order of their first cells.

    Finished cells that differ only in their seeds are one system; a system that was measured twice with one
    seed stays two systems.
    """
    families_by_label: dict[str, list[Keyed]] = {}
    for place, entry in enumerate(keyed):
        system, is_done = entry[1].record.system, entry[1].record.status == "done"
        others = {name: value for name, value in system.options.items() if name != SEED}
        key = json.dumps([system.reranker, others], sort_keys=True, default=str)
        families_by_label.setdefault(key if is_done else str(place), []).append(entry)
    members = [
        part
        for family in families_by_label.values()
        for part in ([family] if _seeds_differ(family) else [[entry] for entry in family])
    ]
    return dict(zip(_labels(members), members, strict=True))


def _seeds_differ(family: Sequence[Keyed]) -> bool:
    """Return whether there are several cells, each with a seed of its own."""
    seeds = {_seed(entry) for entry in family}
    return len(family) > 1 and len(seeds) == len(family)


def _seed(entry: Keyed) -> tuple[str, int]:
    """Return a cell's seeds: the reranker's option as text, and the protocol's."""
    record = entry[1].record
    return str(record.system.options.get(SEED)), record.protocol.seed


def name_of(family: Sequence[Keyed]) -> str:
    """Return a system's name in the experiment; for replicates, what their names share without the seed.

    A system that keeps the first stage's order and has no name of its own is named after the first stage.
    """
    names = [cell.record.system.label for _, cell in family]
    record = family[0][1].record
    if role(record.system.reranker) == "first_stage" and {*names} <= first_stages.UNNAMED:
        return first_stages.in_short(first_stages.describe(record.first_stage))
    if len({*names}) == 1:
        return names[0]
    without_seed = {_without_seed(name) for name in names}
    if len(without_seed) == 1 and "" not in without_seed:
        return without_seed.pop()
    alike = takewhile(lambda letters: len({*letters}) == 1, zip(*names, strict=False))
    prefix = "".join(letter for letter, *_ in alike)
    shared = re.sub(rf"[\s,;:(=\[-]*({SEED}[\s=:]*\d*)?$", "", prefix)
    shared += ")" * (shared.count("(") - shared.count(")"))
    return shared or record.system.reranker


def _without_seed(name: str) -> str:
    """Return a system's name without its seed, wherever that stands: `A (seed=1, b=2)` is `A (b=2)`."""
    rest = re.sub(rf"\b{SEED}[\s=:]*\d+(?:,\s*)?", "", name)
    rest = re.sub(r"[\s,;]*([)\]])", r"\1", rest)
    return re.sub(r"\s*(?:\(\)|\[\])", "", rest).strip(" ,;:-=([")


def names(label: str, family: Sequence[Keyed]) -> list[str]:
    """Return the different names of a system: its label, its name in the experiment, and its cells'."""
    cells = [cell.record.system.label for _, cell in family]
    return list(dict.fromkeys([label, name_of(family), *cells]))


def _labels(families: Sequence[Sequence[Keyed]]) -> list[str]:
    """Return a unique label for each system: its name, followed if needed by folder, then by cell."""
    labels = [name_of(family) for family in families]
    for part in ("folder", "cell"):
        counts = Counter(labels)
        parts = [
            folder.folder.name if part == "folder" else cell.record.cell for (folder, cell), *_ in families
        ]
        parts_by_label = {
            label: {p for other_label, p in zip(labels, parts, strict=True) if other_label == label}
            for label in counts
        }
        labels = [
            f"{label} ({other_label})" if len(parts_by_label[label]) > 1 else label
            for label, other_label in zip(labels, parts, strict=True)
        ]
    return labels


def mean_values(replicates: Sequence[quality.PerQuery]) -> quality.PerQuery:
    """Return the mean over replicates of each measure on each query."""
    if len(replicates) == 1:
        return replicates[0]
    return {
        measure: ByQuery(
            by_query.places,
            np.array(
                [
                    fmean(values)
                    for values in zip(*(replicate[measure].values() for replicate in replicates), strict=True)
                ]
            ),
        )
        for measure, by_query in replicates[0].items()
    }


def deviations(replicates: Sequence[quality.PerQuery]) -> dict[str, float]:
    """Return the standard deviation over replicates of each measure's mean; empty for fewer than two."""
    if len(replicates) < 2:
        return {}
    return {
        measure: stdev(fmean(replicate[measure].values()) for replicate in replicates)
        for measure in replicates[0]
    }


def system(label: str, place: int, family: Sequence[Keyed], ranked: quality.Ranked) -> SystemResult:
    """Compute the numbers of one system, all but its comparison with others.

    Args:
        label: its label, unique in the group.
        place: its position in the folders.
        family: its cells, one for each seed, each with its folder.
        ranked: the evaluation of its rankings.
    """
    record = family[0][1].record
    is_done = record.status == "done"
    measured = [cell for _, cell in family if is_done and cell.rows]
    rows = [row for cell in measured for row in cell.rows]
    return SystemResult(
        place=place,
        label=label,
        name=name_of(family),
        reranker=record.system.reranker,
        role=role(record.system.reranker),
        status=record.status,
        error=record.error,
        notice=_text(record.system.described.get("notice")),
        replicates=len(family),
        measured_queries=sum(len({row.query_id for row in cell.rows}) for _, cell in family),
        quality=_quality(family, rows, ranked),
        timing=_timing(measured, rows),
        work=_work(measured, rows, _passages(family)),
        provenance=_provenance(family),
    )


def _quality(family: Sequence[Keyed], rows: Sequence[QueryRow], ranked: quality.Ranked) -> Quality:
    """Return a system's quality from its cells, their rows, and the evaluation of its rankings."""
    per_query = mean_values(ranked.replicates) if ranked.replicates else {}
    return Quality(
        estimates=quality.estimates(per_query),
        spread=deviations(ranked.replicates),
        against={},
        per_query=per_query,
        tops=ranked.tops,
        by_depth=ranked.by_depth,
        tied_queries=sum(row.repeat == 0 and bool(row.usage.get("ties")) for row in rows),
        unstable=sum(len(cell.unstable_queries()) for _, cell in family),
    )


def _timing(cells: Sequence[CellResult], rows: Sequence[QueryRow]) -> Timing:
    """Return a system's timing from its measured cells and their rows."""
    loads = [load for cell in cells for one in cell.record.sessions for load in loads_per_thread(one)]
    return Timing(
        latency=timing.latency(rows),
        speedup=None,
        stages=timing.stages(rows),
        parts=timing.parts(rows),
        query_seconds=timing.query_seconds(rows),
        noise=conditions.noise([row.control_seconds for row in rows if row.control_seconds is not None]),
        is_amortised=any(cell.record.protocol.mode == "throughput" for cell in cells),
        load=fmean(loads) if loads else None,
        served=loads_of.served_load(cells[0].record, rows) if cells else None,
    )


def _work(cells: Sequence[CellResult], rows: Sequence[QueryRow], passages: Mapping[str, int]) -> Work:
    """Return a system's work per query: counts, operations, output faults and longest prompt.

    Args:
        cells: its measured cells.
        rows: their rows.
        passages: number of candidates by query id.
    """
    faults, faulty_queries = timing.faults(rows)
    return Work(
        counts=timing.work(rows)
        | timing.operations(cells)
        | timing.served(cells)
        | timing.throughput(cells, passages),
        operations=timing.stage_operations(cells),
        faults=faults,
        faulty_queries=faulty_queries,
        longest_prompt=timing.longest_prompt(rows),
    )


def _passages(family: Sequence[Keyed]) -> Mapping[str, int]:
    """Return the number of candidates by query id; empty for an imported run."""
    folder, cell = family[0]
    return folder.pool(cell.record.pool).candidates.counts if cell.rows else {}


def _provenance(family: Sequence[Keyed]) -> Provenance:
    """Return where a system's results come from: options, hardware, co-runners, memory and times."""
    folder, first = family[0]
    sessions = [session for _, cell in family for session in cell.record.sessions]
    options = dict(first.record.system.options)
    if len(family) > 1:
        options.pop(SEED, None)
    return Provenance(
        cell=first.record.cell,
        folder=folder.folder.name,
        options=options,
        described=first.record.system.described,
        hardware=tuple(dict.fromkeys(hardware(session.environment) for session in sessions)),
        hosts=tuple(dict.fromkeys(_hosts(sessions))),
        co_runners=tuple(sorted({*_co_runners(sessions)})),
        slowed_by=tuple(
            conditions.throttling([sample for session in sessions for sample in session.samples])
        ),
        started_at=min((session.started_at for session in sessions), default=""),
        load_seconds=_largest(session.load_seconds for session in sessions),
        peak_device_bytes=_largest(session.peak_device_bytes for session in sessions),
        host_bytes=_largest(session.host_bytes for session in sessions),
    )


def _hosts(sessions: Sequence[Session]) -> Iterator[str]:
    """Yield the host digest of each session that has one."""
    return (str(session.environment["host"]) for session in sessions if session.environment.get("host"))


def _co_runners(sessions: Sequence[Session]) -> Iterator[str]:
    """Yield the labels of the systems that ran beside each session."""
    return (label for session in sessions if session.executor for label in session.executor.co_runners)


def _largest(values: Any) -> Any:
    """Return the largest value that is not None; None without any."""
    return max((value for value in values if value is not None), default=None)


def _text(value: object) -> str | None:
    """Return a value as text; None if it is empty."""
    return str(value) if value else None
