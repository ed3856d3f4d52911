"""Ranks held-out lists by the cross-encoder in training, as it will be used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rerankers.training.measures import HeldOutLists
from rerankers.training.setup import WholeModelValidation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.training.cross_encoder.lists import ScoredList
    from rerankers.training.cross_encoder.model import TrainableCrossEncoder


class PairValidation(WholeModelValidation):
    """Held-out lists that a cross-encoder in training ranks.

    They are measured against the order of their labels, and against judgements where they have them; see
    `rerankers.training.measures`.
    """

    def __init__(self, lists: Sequence[ScoredList]) -> None:
        self._lists = lists
        read = HeldOutLists.of([scored.record for scored in lists if scored.record is not None])
        self.lists = replace(read, rankings=[_order(scored.labels) for scored in lists])

    def __len__(self) -> int:
        return len(self._lists)

    def orders(self, model: TrainableCrossEncoder) -> list[list[int]]:
        """Return the model's order of each list: positions of its passages, best first.

        The model stays as it was.
        """
        was_training = model.training
        pairs = [(scored.query, passage) for scored in self._lists for passage in scored.passages]
        scores = iter(model.encoder.predict(pairs, show_progress_bar=False).tolist())
        model.train(was_training)
        return [_order([next(scores) for _ in scored.passages]) for scored in self._lists]


def _order(values: Sequence[float]) -> list[int]:
    """Return the positions of values from the highest to the lowest; equal ones keep their order."""
    return sorted(range(len(values)), key=lambda place: -values[place])
