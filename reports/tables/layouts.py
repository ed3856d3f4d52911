"""Names of the table layouts, which the command line offers before anything else is imported."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUPED = ("headline", "stages", "costs", "operations")
"""Layouts with a table for each group of comparable cells."""
LAYOUTS = (*GROUPED, "datasets", "significance", "ablation", "published", "reproduction")


class UnknownLayoutError(InputError):
    """A layout that does not exist; the message offers near misses and lists all layouts."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        near = difflib.get_close_matches(name, [*LAYOUTS, *columns], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        super().__init__(
            f"unknown layout {name!r}; {hint}Layouts: {', '.join(LAYOUTS)}; or columns with commas between "
            "them, such as nDCG@10,p50."
        )
