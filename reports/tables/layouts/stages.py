"""The layout `stages`: mean time per query by stage, for rerankers and components of fusions and cascades."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports.analysis.timing import STAGE_ORDER
from reports.tables import grouped

if TYPE_CHECKING:
    from reports.analysis.values import Context, SystemResult
    from reports.tables.cells import Table

COLUMNS = (*(f"stage:{name}" for name in STAGE_ORDER), "mean", "p50")


def tables(context: Context) -> list[Table]:
    """Build one table per group in which a latency was measured."""
    split = replace(
        context,
        groups=tuple(
            replace(
                group,
                systems=tuple(row for system in group.systems for row in (system, *_components(system))),
            )
            for group in context.groups
        ),
    )
    return grouped.of_rerankers(split, "stages", COLUMNS, "Mean time per query by stage")


def _components(system: SystemResult) -> list[SystemResult]:
    """Return a fusion's or cascade's components as systems that have stage times and nothing else."""
    return [
        replace(
            system,
            label=f"{system.label}: {part.name}",
            role="part",
            timing=replace(system.timing, stages=part.stages, latency=None),
            notice=None,
        )
        for part in system.timing.parts
    ]
