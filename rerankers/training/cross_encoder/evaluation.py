"""Held-out lists, ordered by the cross-encoder in training as it will be used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rerankers.errors import InputError
from rerankers.training.measures import HeldOutLists

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from rerankers.training.cross_encoder.lists import ScoredList
    from rerankers.training.cross_encoder.model import TrainableCrossEncoder


class PairValidation:
    """Lists to score while training goes on.

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
        """Return positions of each list's passages, best first; the model is left as it was."""
        was_training = model.training
        pairs = [(scored.query, passage) for scored in self._lists for passage in scored.passages]
        scores = iter(model.encoder.predict(pairs, show_progress_bar=False).tolist())
        model.train(was_training)
        return [_order([next(scores) for _ in scored.passages]) for scored in self._lists]

    def orders_by_forward(self, model: torch.nn.Module, device: torch.device) -> list[list[int]]:
        """Refuse: a model whose weights are spread over devices cannot be used as it is.

        Raises:
            InputError: always.
        """
        raise InputError(
            "data.validation: held-out lists cannot be scored with FSDP or DeepSpeed. Leave it out, or train "
            "in whole copies (DDP)."
        )


def _order(values: Sequence[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda place: -values[place])
