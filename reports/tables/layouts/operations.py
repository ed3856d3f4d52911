"""The layout `operations`: floating point operations, traffic and utilisation by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.timing import STAGE_ORDER
from reports.tables import grouped
from reports.tables.columns import OPERATIONS

if TYPE_CHECKING:
    from reports.analysis.values import Context
    from reports.tables.cells import Table

COLUMNS = tuple(f"{family}:{name}" for family in OPERATIONS for name in STAGE_ORDER)


def tables(context: Context) -> list[Table]:
    """Build one table per group in which operations were counted."""
    subject = "Mean operations per query by stage, counted in a pass that is not timed"
    return grouped.of_rerankers(context, "operations", COLUMNS, subject)
