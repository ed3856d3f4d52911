"""Opens result folders in a notebook, which displays them as tables.

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
    """Results that a notebook displays as headline tables."""

    def tables(self, layout: str = "headline") -> list[Table]:
        """Build the tables of a layout, usually one per group; see `reports.tables.by_name.tables`.

        Raises:
            InputError: no layout has this name.
        """
        return tables(self, layout)

    def _repr_html_(self) -> str:
        """Return the headline tables as HTML, for display in a notebook."""
        return as_html(self.tables())


def open_results(*folders: Path | str, baseline: str | None = None) -> OpenResults:
    """Read result folders, evaluate them and return them together; several are compared with one another.

    Raises:
        InputError: a folder has no results, or no system has the label `baseline`.
        StoreError: a result folder is damaged.
    """
    context = build([read_results(Path(folder)) for folder in folders], baseline)
    return OpenResults(**{field.name: getattr(context, field.name) for field in fields(context)})
