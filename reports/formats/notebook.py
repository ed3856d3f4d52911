"""Results in a notebook, where they show themselves as tables.

    from reports import open_results

    results = open_results("runs/before", "runs/after")    # shows the headline tables, tests included
    results.tables("stages")[0].to_frame()                 # a pandas DataFrame

Several folders opened together are compared.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from benchmarks.results.store import read_results
from reports.analysis.context import build
from reports.analysis.values import Context
from reports.tables.by_name import tables
from reports.tables.cells import Table, as_html

__all__ = ["OpenResults", "open_results"]


class OpenResults(Context):
    """A report that a notebook displays with its headline tables."""

    def tables(self, layout: str = "headline") -> list[Table]:
        """Build the tables of a layout, one a group; see `reports.tables.by_name.tables`.

        Raises:
            InputError: there is no such layout.
        """
        return tables(self, layout)

    def _repr_html_(self) -> str:
        """Return the results as a notebook displays them: the headline table of each group."""
        return as_html(self.tables())


def open_results(*folders: Path | str, baseline: str | None = None) -> OpenResults:
    """Return result folders, ready to be looked at; several are compared.

    Raises:
        InputError: a folder has no results, or no system carries the label `baseline`.
        StoreError: a result folder is damaged.
    """
    context = build([read_results(Path(folder)) for folder in folders], baseline)
    return OpenResults(**{field.name: getattr(context, field.name) for field in fields(context)})
