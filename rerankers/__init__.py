"""Passage rerankers behind one interface; `rerankers.registry` lists them."""

from rerankers.errors import RerankbenchError
from rerankers.interface import Candidate, Ranking, Reranker, RerankRequest, Usage
from rerankers.registry import create
from rerankers.stages import StageClock

__all__ = [
    "Candidate",
    "Ranking",
    "RerankRequest",
    "RerankbenchError",
    "Reranker",
    "StageClock",
    "Usage",
    "create",
]
