"""Reports made from result folders alone: HTML, LaTeX, Markdown, CSV."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.formats.notebook import OpenResults, open_results

__all__ = ["OpenResults", "open_results"]


def __getattr__(name: str) -> Any:
    """Import the Python surface on first use, so that the command line starts without it."""
    if name in __all__:
        return getattr(importlib.import_module("reports.formats.notebook"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
