"""Manages the checkpoints of a running training: the best and the last one, each with its provenance."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerankers.files.writing import replace_file
from rerankers.training.checkpoints.card import CARD, Scores, model_card
from rerankers.training.checkpoints.comparison import COMPARISON, write_comparison
from rerankers.training.checkpoints.folders import atomic_folder, restore_checkpoint
from rerankers.training.checkpoints.provenance import data_sources
from rerankers.training.measures import TEACHER
from rerankers.training.reconstruction import MEASURES
from rerankers.training.result_folder import LOG, digest, read_log

if TYPE_CHECKING:
    from rerankers.training.settings import Stage
    from rerankers.training.setup import Setup
    from rerankers.training.trainer import PERankTrainer

SCORE = f"eval_{TEACHER}"  # its name in the log


class CheckpointManager:
    """A checkpoint manager: it writes a training's best and last checkpoint, with card and provenance.

    Args:
        folder: result folder.
        stage: of the training.
        setup: the parts of the training.
        command: that started it; None where no command did.

    Attributes:
        trainer: set before training starts.
        measures: of every evaluation by step.
        last_scored: step of the latest evaluation.
        best, best_step: best nDCG@10 against the teacher, and its step.
    """

    def __init__(self, folder: Path, stage: Stage, setup: Setup, command: str | None) -> None:
        self._folder, self._stage, self._setup, self._command = folder, stage, setup, command
        self._sources = data_sources(Path(setup.settings.data.train))
        self.trainer: PERankTrainer | None = None
        self.measures: dict[int, dict[str, float]] = {}
        self.last_scored: int | None = None
        self.best: float | None = None
        self.best_step: int | None = None
        restore_checkpoint(folder / "best")
        if (folder / "best").is_dir():  # left by a killed process
            training = setup.writer.read(folder / "best")
            self.best, self.best_step = training["validation_ndcg@10"], training["step"]

    def begin_log(self, measured: dict[str, float]) -> None:
        """Begin the log with the measures before the first step; to be called on all processes."""
        assert self.trainer is not None  # noqa: S101 - set before training starts
        if self.trainer.is_world_process_zero() and measured:
            replace_file(self._folder / LOG, json.dumps({"step": 0, **measured}) + "\n")

    def keep_best(self, step: int, measures: dict[str, float]) -> None:
        """Note the measures of an evaluation; write `best/` if nDCG@10 against the teacher is a record."""
        self.measures[step], self.last_scored = measures, step
        if self.best is None or measures[TEACHER] > self.best:
            self.best, self.best_step = measures[TEACHER], step
            self.keep(self._folder / "best", measures)

    def keep(self, folder: Path, measures: dict[str, float] | None) -> None:
        """Write a checkpoint of the model as it is now; to be called on all processes.

        Args:
            folder: of the checkpoint.
            measures: of the model at this step; None where it was not evaluated.
        """
        assert self.trainer is not None  # noqa: S101 - set before training starts
        state = self.trainer.full_state()
        if not self.trainer.is_world_process_zero():
            return
        training = self._training(measures or {})
        with atomic_folder(folder) as scratch:
            self._setup.writer.write(scratch, state, training)
            replace_file(scratch / CARD, self._card(training))

    def finish(self) -> Path:
        """Write the last checkpoint, and return the folder of the one to use: the best, or the last.

        To be called on all processes.
        """
        assert self.trainer is not None  # noqa: S101 - set before training starts
        last, best = self._folder / "last", self._folder / "best"
        self.keep(last, self.measures.get(self.trainer.state.global_step))
        checkpoint = last if self.best_step is None else best
        if self.trainer.is_world_process_zero():
            if best.is_dir():
                replace_file(best / CARD, self._card(self._setup.writer.read(best)))
            if self._stage != "align":
                write_comparison(self._folder, checkpoint, self._setup.writer.usage, self._sources)
        return checkpoint

    def next_command(self, checkpoint: Path) -> str:
        """Return the shell command to go on with: the next stage's training, or the comparison."""
        if self._stage == "align":
            return shlex.join(["rerankbench", "train", "rank", "CONFIG", "--set", f"init_from={checkpoint}"])
        return shlex.join(["rerankbench", "run", str(self._folder / COMPARISON)])

    def _card(self, training: dict[str, Any]) -> str:
        """Return the model card of the checkpoint with this provenance, its scores read from the log."""
        validation = self._setup.validation
        lines = read_log(self._folder / LOG)
        scores = Scores(
            by_step={int(line["step"]): float(line[SCORE]) for line in lines if SCORE in line},
            lists=0 if validation is None else len(validation),
            chance=None if validation is None else validation.lists.references()["chance"][TEACHER],
            best_step=self.best_step,
            rebuilt={
                int(line["step"]): {name: value for name, value in line.items() if name in MEASURES}
                for line in lines
                if MEASURES.keys() & line.keys()
            },
        )
        writer = self._setup.writer
        return model_card(writer.usage, writer.models(), training, self._sources, scores, self._command)

    def _training(self, measures: dict[str, float]) -> dict[str, Any]:
        """Return the provenance of a checkpoint of the model as it is now.

        It holds stage, settings, data digests, step, losses, measures, versions, and the checkpoint it
        started from.
        """
        assert self.trainer is not None  # noqa: S101 - set before training starts
        state = self.trainer.state
        losses = [line for line in state.log_history if "loss" in line]
        settings = self._setup.settings.model_dump(exclude={"out", "init_from"})
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
            f"validation_{TEACHER}": None,
            **{f"validation_{name}": value for name, value in measures.items()},
            "versions": {name: version(name) for name in ("torch", "transformers")},
            "started_from": self._setup.writer.started_from(),
        }
