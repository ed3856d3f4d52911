"""The registry of table layouts: one row per layout, with the function that builds its tables.

Adding a table is one file with a function that takes a `Context` and returns tables, and one row here. CSV,
LaTeX and Markdown then have it: see docs/your-own-table.md. The command line offers the names, so this module
imports nothing heavy.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, NamedTuple

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reports.analysis.values import Context
    from reports.tables.cells import Table

    Build = Callable[[Context], list[Table]]


class Layout(NamedTuple):
    """A layout's row in the registry.

    Attributes:
        build: `module:function`, imported on first use. The function takes a `Context` and returns tables.
        needs: reason why the layout has no table, for the end of an error message.
    """

    build: str
    needs: str

    def load(self) -> Build:
        """Import and return the function that builds the layout's tables."""
        module, _, function = self.build.partition(":")
        build: Build = getattr(importlib.import_module(module), function)
        return build


_NO_FIGURES = "reports/published/ holds no figure {}"

LAYOUTS: dict[str, Layout] = {
    "headline": Layout("reports.tables.layouts.headline:tables", "no cell can be read"),
    "stages": Layout("reports.tables.layouts.stages:tables", "no latency was measured"),
    "costs": Layout("reports.tables.layouts.costs:tables", "neither work nor latency was measured"),
    "operations": Layout(
        "reports.tables.layouts.operations:tables",
        "no operations were counted; set count_operations in the experiment file",
    ),
    "loads": Layout("reports.tables.layouts.loads:tables", "nothing was measured in mode served"),
    "datasets": Layout("reports.tables.layouts.datasets:tables", "no queries are judged"),
    "significance": Layout("reports.tables.layouts.significance:tables", "no queries are judged"),
    "judgements": Layout(
        "reports.tables.layouts.judgements:tables",
        "no judgements stand beside the dataset's; an experiment names them in `judgements`, and "
        "`rerankbench judge DIR --model NAME` lets a model grade",
    ),
    "agreement": Layout(
        "reports.tables.layouts.judgements:agreements",
        "no other judgements are of passages that the dataset judges, too",
    ),
    "overlap": Layout("reports.tables.layouts.overlap:tables", "there are no two systems to compare"),
    "interpretation": Layout("reports.tables.layouts.interpretation:tables", "no queries are judged"),
    "factors": Layout(
        "reports.tables.layouts.factors:tables",
        "no option, first stage or depth takes two values while all other settings stay",
    ),
    "ablation": Layout(
        "reports.tables.layouts.ablation:tables",
        "no option, first stage or depth takes two values while all other settings stay",
    ),
    "published": Layout("reports.tables.layouts.published:tables", _NO_FIGURES.format("for these datasets")),
    "reproduction": Layout(
        "reports.tables.layouts.published:reproductions",
        _NO_FIGURES.format("that a system here should reproduce"),
    ),
}


class UnknownLayoutError(InputError):
    """Raised for a layout that does not exist; the message has near misses and all layouts."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        near = difflib.get_close_matches(name, [*LAYOUTS, *columns], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        super().__init__(
            f"unknown layout {name!r}; {hint}Layouts: {', '.join(LAYOUTS)}; or columns with commas between "
            "them, such as nDCG@10,p50."
        )
