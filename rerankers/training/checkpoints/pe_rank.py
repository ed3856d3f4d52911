"""Writes PE-Rank's checkpoints in this project's compact format."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import torch

from rerankers.models.locate import find_model
from rerankers.pe_rank.formats.compact import save_compact
from rerankers.pe_rank.formats.manifest import EncoderEntry, LLMEntry, Manifest, PromptEntry, read_manifest
from rerankers.pe_rank.projector import build_projector
from rerankers.training.checkpoints.card import Usage
from rerankers.training.checkpoints.folders import weights_below
from rerankers.training.checkpoints.llm import is_adapted, portable, save_adapter, save_whole
from rerankers.training.checkpoints.provenance import base_model
from rerankers.training.start import find_start, started_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rerankers.encoders.encoder import Encoder
    from rerankers.llm.causal import CausalLM
    from rerankers.pe_rank.prompt import PromptTemplate
    from rerankers.training.checkpoints.provenance import BaseModel
    from rerankers.training.model import TrainableRanker
    from rerankers.training.settings import Settings, Stage

_NOTES = {
    "align": "Its projector alone was trained, to rebuild passages from embeddings: it does not rank yet.",
    "query": "It was trained on queries alone: a start for the stage `rank`, which ranks little by itself.",
}


class PERankWriter:
    """A writer of PE-Rank checkpoints: compact, in float32.

    Args:
        stage: of the training.
        settings: of the training.
        model: what is trained.
        base: its language model as loaded.
        encoder: whose vectors it reads.
        template: of its prompts.
    """

    def __init__(
        self,
        stage: Stage,
        settings: Settings,
        model: TrainableRanker,
        base: CausalLM,
        encoder: Encoder,
        template: PromptTemplate,
    ) -> None:
        self._stage, self._settings, self._model = stage, settings, model
        self._base, self._encoder, self._template = base, encoder, template

    @property
    def usage(self) -> Usage:
        """The reranker `pe-rank`, which loads the checkpoint, with a note on stages that do not rank yet."""
        return Usage("PE-Rank", "pe-rank", tags=("pe-rank",), note=_NOTES.get(self._stage, ""))

    def models(self) -> list[BaseModel]:
        """Return the language model and the encoder trained from, with revisions and licences."""
        manifest = self._manifest({})
        return [
            base_model("language model", self._settings.llm.model, _version(manifest.llm)),
            base_model("encoder", self._settings.encoder.model, _version(manifest.encoder)),
        ]

    def started_from(self) -> dict[str, Any] | None:
        """Return the provenance of the checkpoint that the training starts from; None without one."""
        start = self._settings.init_from
        return None if start is None else started_from(find_start(start))

    def write(self, folder: Path, state: Mapping[str, torch.Tensor], training: dict[str, Any]) -> None:
        """Write manifest, projector, and the trained weights of the language model into a folder.

        Args:
            folder: of the checkpoint.
            state: all weights of the trained model by name.
            training: the checkpoint's provenance.
        """
        manifest, llm = self._manifest(training), self._model.llm
        adapter = None
        if is_adapted(llm):
            adapter = folder / "adapter"
            save_adapter(adapter, llm, weights_below(state, "llm."), manifest.llm.model)
        elif any(weight.requires_grad for weight in llm.parameters()):
            save_whole(folder / "llm", llm, weights_below(state, "llm."), self._base.tokenizer)
            manifest = manifest.model_copy(update={"llm": LLMEntry(model="./llm")})
        projector = build_projector(manifest.projector, manifest.encoder.dimension, self._model.dimension)
        projector.load_state_dict(weights_below(state, "projector."))
        save_compact(folder, manifest, projector, torch.float32, adapter)
        if adapter is not None:
            shutil.rmtree(adapter)

    def read(self, folder: Path) -> dict[str, Any]:
        """Return the provenance that a checkpoint's manifest states."""
        return read_manifest(find_model(str(folder))).training

    def _manifest(self, training: dict[str, Any]) -> Manifest:
        """Return the manifest (`pe_rank.json`) of a checkpoint with this provenance."""
        settings, described = self._settings, self._encoder.describe()
        llm, encoder = find_model(settings.llm.model), find_model(settings.encoder.model)
        llm_revision = settings.llm.revision or self._base.describe()["revision"]
        encoder_revision = settings.encoder.revision or described["revision"]
        return Manifest(
            llm=LLMEntry(
                model=portable(settings.llm.model),
                revision=None if llm.is_local else str(llm_revision),
                fingerprint=llm.fingerprint,
            ),
            encoder=EncoderEntry(
                model=portable(settings.encoder.model),
                revision=None if encoder.is_local else str(encoder_revision),
                fingerprint=encoder.fingerprint,
                pooling=self._encoder.pooling_option,
                dimension=self._encoder.dimension,
                passage_prefix=self._encoder.passage_prefix,
                max_length=settings.encoder.inference_max_length,
            ),
            projector=settings.projector.kind,
            prompt=PromptEntry(
                prefix=self._template.prefix,
                passage=self._template.passage,
                passage_with_text=self._template.passage_with_text,
                suffix=self._template.suffix,
                chat=self._template.chat,
            ),
            training=training,
        )


def _version(entry: LLMEntry | EncoderEntry) -> str | None:
    """Return a model's revision, or its fingerprint if it has none."""
    return entry.revision or entry.fingerprint
