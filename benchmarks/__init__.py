"""The harness: datasets, first stages, candidate sets, the pipeline, records and the command line."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.first_stages.interface import Documents, FirstStage
    from benchmarks.surface import Outcome, run_experiment
    from rerankers.options import Options

__all__ = ["Documents", "FirstStage", "Options", "Outcome", "run_experiment"]

_ELSEWHERE = {
    "Documents": "benchmarks.first_stages.interface",
    "FirstStage": "benchmarks.first_stages.interface",
    "Options": "rerankers.options",
}


def __getattr__(name: str) -> Any:
    """Return a name of the Python surface, such as `run_experiment`, from its module, imported on first use.

    Raises:
        AttributeError: the package has no such name.
    """
    if name in __all__:
        return getattr(importlib.import_module(_ELSEWHERE.get(name, "benchmarks.surface")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
