"""Writes checkpoints of E2Rank: whole models in transformers' layout, and `training.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.training.checkpoints.card import Usage
from rerankers.training.checkpoints.folders import weights_below
from rerankers.training.checkpoints.llm import is_adapted, save_whole
from rerankers.training.checkpoints.provenance import base_model, read_training, write_training

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from rerankers.llm.hidden import HiddenLM
    from rerankers.training.checkpoints.provenance import BaseModel
    from rerankers.training.e2rank.model import TrainableE2Rank
    from rerankers.training.e2rank.settings import E2RankSettings


class E2RankWriter:
    """A writer of whole models, adapter merged, which the reranker `e2rank` loads.

    Args:
        settings: of the training.
        model: what is trained.
        base: its language model as loaded.
    """

    def __init__(self, settings: E2RankSettings, model: TrainableE2Rank, base: HiddenLM) -> None:
        self._settings, self._model, self._base = settings, model, base

    @property
    def usage(self) -> Usage:
        """The reranker `e2rank`, which loads the checkpoint."""
        return Usage("E2Rank", "e2rank", tags=("listwise", "embeddings"))

    def models(self) -> list[BaseModel]:
        """Return the model that the training started from, with revision and licence."""
        revision = self._base.describe()["revision"]
        name = self._settings.llm.model
        return [base_model("embedding model", name, None if revision is None else str(revision))]

    def started_from(self) -> None:
        """Return None: E2Rank starts from its embedding model, not from a checkpoint."""

    def write(self, folder: Path, state: Mapping[str, torch.Tensor], training: dict[str, Any]) -> None:
        """Write the model and `training.json` into a folder; an adapter is merged into the model for good.

        Args:
            folder: of the checkpoint.
            state: all weights of the trained model by name.
            training: the checkpoint's provenance.
        """
        decoder, weights = self._model.decoder, weights_below(state, "decoder.")
        if is_adapted(decoder):  # nothing is trained further, since there is no checkpoint but the last
            decoder = decoder.merge_and_unload()
            weights = decoder.state_dict()
        save_whole(folder, decoder, weights, self._base.tokenizer)
        write_training(folder, training)

    def read(self, folder: Path) -> dict[str, Any]:
        """Return the provenance in a checkpoint's `training.json`."""
        return read_training(folder)
