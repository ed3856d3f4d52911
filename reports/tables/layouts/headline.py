"""The layout `headline`: effectiveness and latency of all systems of each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.tables import grouped

if TYPE_CHECKING:
    from reports.analysis.values import Context, Group
    from reports.tables.cells import Table

THROUGHPUT = ("queries_per_second", "passages_per_second", "requests_per_second")
COLUMNS = ("ties", "rate", "clients", "p50", "p95", "speedup", *THROUGHPUT, "dollars", "joules", "flops")


def tables(context: Context) -> list[Table]:
    """Build one table per group, with all of its systems."""
    return [_table(group) for group in context.groups]


def _table(group: Group) -> Table:
    """Build a group's table, its caption by what was measured."""
    is_timed = any(system.timing.latency for system in group.systems)
    time = "throughput" if group.mode == "throughput" else "latency"
    subject = f"Effectiveness and {time}" if is_timed else "Effectiveness"
    return grouped.with_values(group, "headline", (*group.measures, *COLUMNS), subject)
