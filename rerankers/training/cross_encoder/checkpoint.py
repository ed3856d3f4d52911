"""Writes checkpoints of a cross-encoder: whole models in sentence-transformers' layout."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from rerankers.training.checkpoints.card import Usage
from rerankers.training.checkpoints.folders import weights_below
from rerankers.training.checkpoints.provenance import base_model, read_training, write_training

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from rerankers.training.checkpoints.provenance import BaseModel
    from rerankers.training.cross_encoder.model import TrainableCrossEncoder
    from rerankers.training.cross_encoder.settings import CrossEncoderSettings


class CrossEncoderWriter:
    """A writer of whole cross-encoders, adapter merged, which `cross-encoder` and sentence-transformers load.

    Args:
        settings: of the training.
        model: what is trained.
        revision: of the encoder, or its fingerprint.
    """

    def __init__(
        self, settings: CrossEncoderSettings, model: TrainableCrossEncoder, revision: str | None
    ) -> None:
        self._settings, self._model, self._revision = settings, model, revision

    @property
    def usage(self) -> Usage:
        """The reranker `cross-encoder`, which loads the checkpoint."""
        return Usage("Cross-encoder", "cross-encoder", tags=("cross-encoder", "sentence-transformers"))

    def models(self) -> list[BaseModel]:
        """Return the encoder that the training started from, with revision and licence."""
        return [base_model("encoder", self._settings.model, self._revision)]

    def started_from(self) -> None:
        """Return None: a cross-encoder starts from its encoder, not from a checkpoint."""

    def write(self, folder: Path, state: Mapping[str, torch.Tensor], training: dict[str, Any]) -> None:
        """Write a copy of the model, its adapter merged, and `training.json` into a folder.

        Args:
            folder: of the checkpoint.
            state: all weights of the trained model by name.
            training: the checkpoint's provenance.
        """
        encoder, adapted = deepcopy((self._model.encoder, self._model.adapted))
        encoder.load_state_dict(weights_below(state, "encoder."))
        if adapted is not None:
            adapted.merge_and_unload()
        encoder.save_pretrained(str(folder), create_model_card=False)
        write_training(folder, training)

    def read(self, folder: Path) -> dict[str, Any]:
        """Return the provenance in a checkpoint's `training.json`."""
        return read_training(folder)
