"""A first stage of random candidates: the lower bound that every first stage should beat."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from benchmarks.first_stages.interface import FirstStage
from rerankers.options import Options

if TYPE_CHECKING:
    from benchmarks.first_stages.interface import Documents


class RandomOrderOptions(Options):
    """The options of the first stage of random candidates."""

    seed: int = 0
    """Another seed draws other passages."""


class RandomOrder(FirstStage):
    """A first stage that draws passages without replacement; the score is minus the rank."""

    options_model = RandomOrderOptions

    def __init__(self, documents: Documents, options: RandomOrderOptions) -> None:
        self._doc_ids = [doc_id for doc_id, _ in documents]
        self._seed = options.seed

    def search(self, query: str, depth: int) -> list[tuple[str, float]]:
        """Draw up to `depth` passages, (doc id, score); a query and a seed always give the same ones."""
        seed = hashlib.sha256(f"{self._seed}\n{query}".encode()).hexdigest()
        drawn = random.Random(seed).sample(self._doc_ids, min(depth, len(self._doc_ids)))  # noqa: S311 - no secret
        return [(doc_id, -float(rank)) for rank, doc_id in enumerate(drawn, 1)]
