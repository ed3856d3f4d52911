"""Writes checkpoints of a text ranker: an adapter or a whole model, and `training.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.models.locate import find_model
from rerankers.training.checkpoints.card import Usage
from rerankers.training.checkpoints.folders import weights_below
from rerankers.training.checkpoints.llm import is_adapted, portable, save_adapter, save_whole
from rerankers.training.checkpoints.provenance import base_model, read_training, write_training

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from rerankers.llm.causal import CausalLM
    from rerankers.training.checkpoints.provenance import BaseModel
    from rerankers.training.text.model import TrainableTextRanker
    from rerankers.training.text.settings import TextSettings

_WIDEST = 20  # passages a window, the default of the rerankers


class TextWriter:
    """A writer of text rankers in the layout of PEFT or transformers, which `rankgpt` and `first` load.

    Args:
        settings: of the training.
        model: what is trained.
        base: its language model as loaded.
        passages: of the longest list that is shown.
    """

    def __init__(
        self, settings: TextSettings, model: TrainableTextRanker, base: CausalLM, passages: int
    ) -> None:
        self._settings, self._model, self._base = settings, model, base
        self._window = min(_WIDEST, max(2, passages))

    @property
    def usage(self) -> Usage:
        """The reranker (`rankgpt` or `first`) and options that load the checkpoint; windows hold a list."""
        settings = self._settings
        options: dict[str, object] = {"window": self._window, "step": max(1, self._window // 2)}
        if settings.prompt == "first":
            reranker = "first"
        else:
            reranker = "rankgpt"
            options |= {"backend": "transformers", "prompt": settings.prompt}
        options["passage_words"] = settings.passage_words
        if settings.template_variables:
            options["template_variables"] = settings.template_variables
        return Usage("Listwise text ranker", reranker, options, ("listwise",))

    def models(self) -> list[BaseModel]:
        """Return the language model that the training started from, with revision and licence."""
        llm = self._settings.llm
        revision = llm.revision or self._base.describe()["revision"]
        return [base_model("language model", llm.model, None if revision is None else str(revision))]

    def started_from(self) -> None:
        """Return None: a text ranker starts from its language model, not from a checkpoint."""

    def write(self, folder: Path, state: Mapping[str, torch.Tensor], training: dict[str, Any]) -> None:
        """Write the trained adapter, or the whole model, and `training.json` into a folder.

        Args:
            folder: of the checkpoint.
            state: all weights of the trained model by name.
            training: the checkpoint's provenance.
        """
        llm, name = self._model.llm, self._settings.llm.model
        if is_adapted(llm):
            for config in llm.peft_config.values():
                config.revision = None if find_model(name).is_local else self.models()[0].revision
            save_adapter(folder, llm, weights_below(state, "llm."), portable(name))
        else:
            save_whole(folder, llm, weights_below(state, "llm."), self._base.tokenizer)
        write_training(folder, training)

    def read(self, folder: Path) -> dict[str, Any]:
        """Return the provenance in a checkpoint's `training.json`."""
        return read_training(folder)
