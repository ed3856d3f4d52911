"""The layout `loads`: served systems at each load, with latency percentiles and whether an SLO was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.comparisons.loads import loaded
from reports.formats.numbers import significant
from reports.tables.cells import ABSENT, Cell, Head, Note, Row, Table
from reports.tables.grouped import about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.analysis.values import Context, Group, ServedLoad, SystemResult

PERCENTILES = ("p50", "p95", "p99")


def tables(context: Context) -> list[Table]:
    """Build one table per group with served systems."""
    return [_table(group) for group in context.groups if loaded(group.systems)]


def _table(group: Group) -> Table:
    """Build one group's table."""
    load, time = "Load", "Latency per query, waiting included"
    heads = [
        Head("rate", "rate", load, "requests that arrive per second", "1/s"),
        Head("clients", "clients", load, "clients that send a request once the last one is answered"),
        Head("arrivals", "arrivals", load, "how requests arrive"),
        *(Head(name, name, time, f"{name} of latency", "ms") for name in PERCENTILES),
        Head("queued", "in the queue", time, "mean wait of a request before it was taken", "ms"),
        Head("answered", "answered", "Throughput", "requests answered per second of serving", "1/s"),
        Head("slo", "SLO", "SLO", "what latency has to keep"),
        Head("kept", "kept", "SLO", "whether it was kept, and the system kept up with what arrived"),
    ]
    return Table(
        name=f"loads-{group.key}",
        caption=f"Latency under load on {group.title}.",
        about=about(group),
        columns=tuple(heads),
        rows=tuple(Row.of(system, _cells(system, load)) for system, load in loaded(group.systems)),
        notes=(Note("A load is kept if at most a tenth of the requests wait when the last one arrives"),),
        warnings=group.warnings,
        group=group.key,
    )


def _cells(system: SystemResult, load: ServedLoad) -> Iterator[Cell]:
    """Yield the cells of a system at its load."""
    yield _number(load.rate)
    yield Cell(load.clients, str(load.clients)) if load.clients is not None else Cell()
    yield Cell(text=load.arrivals)
    for name in PERCENTILES:
        latency = system.timing.latency
        yield _number(1e3 * getattr(latency, name).value if latency else None)
    queued = system.work.counts.get("queued_seconds")
    yield _number(None if queued is None else 1e3 * queued)
    yield _number(system.work.counts.get("requests_per_second"))
    yield Cell(text=load.slo or ABSENT)
    yield Cell(text={None: ABSENT, True: "yes", False: "no"}[load.is_kept])


def _number(value: float | None) -> Cell:
    """Return a number as a cell; empty for None."""
    return Cell() if value is None else Cell(value, significant(value))
