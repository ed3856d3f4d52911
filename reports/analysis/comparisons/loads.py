"""The loads at which systems were served: whether each keeps the SLO, and the highest that does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measuring.slo import Tried, highest_kept
from reports.analysis.values import ServedLoad

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.results.record import QueryRow, Record
    from reports.analysis.values import Group, Sentence, SystemResult


def served_load(record: Record, rows: Sequence[QueryRow]) -> ServedLoad | None:
    """Return a cell's load and whether it keeps its SLO, from its rows; None outside of served mode."""
    served = record.protocol.served
    if served is None or not rows:
        return None
    tried = Tried.of(rows, served.slo) if served.slo else None
    return ServedLoad(
        system=record.system.label.removesuffix(f", {served.short}"),
        rate=served.rate,
        clients=served.concurrency if served.rate is None else None,
        arrivals=served.arrivals if served.rate is not None else "after each answer",
        slo=str(served.slo) if served.slo else "",
        slo_seconds=served.slo.seconds if served.slo else None,
        percentile_seconds=tried.seconds if tried else None,
        is_kept=tried.is_kept if tried else None,
    )


def loaded(systems: Iterable[SystemResult]) -> list[tuple[SystemResult, ServedLoad]]:
    """Return (reranker, load) of the served rerankers, sorted by system and load, clients before rates."""
    served = [(one, one.timing.served) for one in systems if one.role == "reranker"]
    pairs = [(one, load) for one, load in served if load is not None]
    names = list(dict.fromkeys(load.system for _, load in pairs))
    return sorted(
        pairs, key=lambda pair: (names.index(pair[1].system), pair[1].rate or 0.0, pair[1].clients or 0)
    )


def capacities(group: Group) -> list[Sentence]:
    """Return a sentence on the highest load that keeps the SLO, for each system served at given rates."""
    tried: dict[tuple[str, str], dict[float, Tried]] = {}
    for _, load in loaded(group.systems):
        if load.rate is not None and load.percentile_seconds is not None and load.is_kept is not None:
            by_rate = tried.setdefault((load.system, load.slo), {})
            by_rate[load.rate] = Tried(load.percentile_seconds, load.is_kept)
    sentences: list[Sentence] = []
    for (system, slo), by_rate in tried.items():
        kept, missed = highest_kept(by_rate)
        if kept is None:
            sentences.append(("", system, f" keeps {slo} at none of the loads that were measured."))
            continue
        end = f", and misses it at {missed:g}" if missed is not None else ", the highest that was measured"
        sentences.append(("", system, f" keeps {slo} up to {kept:g} requests a second{end}."))
    return sentences
