"""Checkpoints while training goes on: the best one, the last one, and how each came about."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerankers.files.paths import existing_path
from rerankers.models.locate import find_model
from rerankers.pe_rank.formats.compact import EncoderEntry, LLMEntry, Manifest, PromptEntry, read_manifest
from rerankers.training.export import restore_checkpoint, save_checkpoint
from rerankers.training.result_folder import digest
from rerankers.training.start import find_start, started_from

if TYPE_CHECKING:
    from rerankers.encoders.encoder import Encoder
    from rerankers.llm.causal import CausalLM
    from rerankers.pe_rank.prompt import PromptTemplate
    from rerankers.training.model import TrainableRanker
    from rerankers.training.settings import Settings, Stage
    from rerankers.training.trainer import PERankTrainer


class Keeper:
    """Writes checkpoints, and remembers the best."""

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        settings: Settings,
        model: TrainableRanker,
        base: CausalLM,
        encoder: Encoder,
        template: PromptTemplate,
    ) -> None:
        self._folder, self._stage, self._settings = folder, stage, settings
        self._model, self._base, self._encoder, self._template = model, base, encoder, template
        self.trainer: PERankTrainer | None = None
        self.scores: dict[int, float] = {}
        self.last_scored: int | None = None
        self.best: float | None = None
        self.best_step: int | None = None
        restore_checkpoint(folder / "best")
        if (folder / "best").is_dir():  # left by a killed process
            training = read_manifest(find_model(str(folder / "best"))).training
            self.best, self.best_step = training["validation_ndcg@10"], training["step"]

    def keep_best(self, step: int, score: float) -> None:
        """Take in an evaluation; write the checkpoint if it is the best so far."""
        self.scores[step], self.last_scored = score, step
        if self.best is None or score > self.best:
            self.best, self.best_step = score, step
            self.keep(self._folder / "best", score)

    def keep(self, folder: Path, score: float | None) -> None:
        """Write the checkpoint as it is now; to be called on all processes."""
        assert self.trainer is not None  # noqa: S101 - set before training starts
        state = self.trainer.full_state()
        if self.trainer.is_world_process_zero():
            save_checkpoint(folder, self._model, state, self._base.tokenizer, self._manifest(score))

    def _manifest(self, score: float | None) -> Manifest:
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
            training=self._story(score),
        )

    def _story(self, score: float | None) -> dict[str, Any]:
        """How the checkpoint came about: recipe, data, losses, scores; and what it started from."""
        assert self.trainer is not None  # noqa: S101 - set before training starts
        state = self.trainer.state
        losses = [line for line in state.log_history if "loss" in line]
        settings = self._settings.model_dump(exclude={"out"})
        start = settings.pop("init_from")
        data = settings["data"]
        digests = {}
        for name in ("train", "validation"):
            if data[name] is not None:
                digests[name] = digest(Path(data[name]))
                data[name] = Path(data[name]).name
        return {
            "stage": self._stage,
            "settings": settings,
            "data_sha256": digests,
            "step": state.global_step,
            "steps": state.max_steps,
            "examples_per_step": len(self.trainer.train_dataset) // state.max_steps,  # type: ignore[arg-type]
            "losses": losses[-1] if losses else {},
            "validation_ndcg@10": score,
            "versions": {name: version(name) for name in ("torch", "transformers")},
            "started_from": None if start is None else started_from(find_start(start)),
        }


def portable(name: str) -> str:
    """A model's name that means the same from any folder."""
    folder = existing_path(name)
    return name if folder is None else str(folder.resolve())
