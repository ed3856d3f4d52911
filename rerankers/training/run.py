"""Runs one training from its settings: data, model, Trainer, checkpoints.

The result folder:

    settings.json      what is trained; the same command in the same folder goes on where it was
    plan.json          what was known before the first step, the score of step 0 included
    log.jsonl          one line a logging step and evaluation
    curves.svg, .png   the log as a picture, and training.html with it
    states/            from which a killed training goes on: what learns, optimizer, schedule, random numbers
    best/              the checkpoint with the best nDCG@10 on the validation lists, if there are some
    last/              the checkpoint at the end
    compare.yaml       an experiment: BM25, the teacher and the checkpoint
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from rerankers.errors import InputError
from rerankers.files.folder_lock import FolderLock
from rerankers.training.checkpoints.manager import CheckpointManager
from rerankers.training.monitoring.curves import draw_curves
from rerankers.training.planning.memory import expected_memory
from rerankers.training.planning.plan import Plan
from rerankers.training.processes import is_sharded, refuse_lost_processes
from rerankers.training.result_folder import claim, last_state
from rerankers.training.trainer import PERankTrainer, same_random_numbers, training_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import TrainingArguments

    from rerankers.training.settings import Stage, TrainingSettings
    from rerankers.training.setup import SetUp, Setup

_PE_RANK = "rerankers.training.setups.pe_rank"
_SETUPS: dict[Stage, str] = {
    "align": _PE_RANK,
    "query": _PE_RANK,
    "rank": _PE_RANK,
    "text": "rerankers.training.setups.text",
    "cross-encoder": "rerankers.training.setups.cross_encoder",
    "e2rank": "rerankers.training.setups.e2rank",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a training: where it ended, its best score, and its checkpoint.

    Attributes:
        step: at which it ended.
        best_score: best nDCG@10 on the held-out lists; None where nothing was evaluated.
        best_step: at which it had that score.
        checkpoint: the best one, or the last.
        next: the command to go on with.
    """

    step: int
    best_score: float | None
    best_step: int | None
    checkpoint: Path
    next: str


def plan(
    stage: Stage,
    settings: TrainingSettings,
    folder: Path,
    say: Callable[[str], None],
    *,
    use_cpu: bool = False,
) -> None:
    """Prepare a training up to its first step and report it by `say`; write nothing into the folder.

    It reads data, loads models, estimates memory and scores held-out lists.

    Args:
        stage, settings, folder, say, use_cpu: as for `train`.

    Raises:
        InputError, ModelError: as `train`.
    """
    refuse_lost_processes()
    arguments = training_arguments(settings, folder / "states", use_cpu=use_cpu)
    say = _say_nothing if arguments.process_index else say
    setup, planned = _set_up(stage, settings, folder, say, arguments)
    if not arguments.process_index:
        _before(setup, planned, say)


def train(
    stage: Stage,
    settings: TrainingSettings,
    folder: Path,
    say: Callable[[str], None],
    *,
    use_cpu: bool = False,
    command: str | None = None,
) -> Outcome:
    """Train in a result folder, or go on with a training that was killed there; return the outcome.

    Args:
        stage: what is trained.
        settings: of that stage.
        folder: result folder.
        say: shows one line to a person.
        use_cpu: train on the CPU though there is a GPU.
        command: that started the training, for the model card.

    Raises:
        InputError: the data cannot be read, the folder holds another training, or the loss diverged.
        StoreError: another process trains in the folder.
        ModelError: a model does not load, or does not fit the checkpoint to start from.
        MissingExtraError: an optional dependency that the settings need is not installed.
    """
    refuse_lost_processes()
    arguments = training_arguments(settings, folder / "states", use_cpu=use_cpu)
    if arguments.process_index:
        return _train(stage, settings, folder, _say_nothing, arguments, command)
    with FolderLock(folder):
        return _train(stage, settings, folder, say, arguments, command)


def _set_up(
    stage: Stage,
    settings: TrainingSettings,
    folder: Path,
    say: Callable[[str], None],
    arguments: TrainingArguments,
) -> tuple[Setup, Plan]:
    """Put together the parts of a stage's training and its plan, show the plan's lines, and return both."""
    say(f"training stage {stage} in {folder}")
    set_up: SetUp = import_module(_SETUPS[stage]).set_up
    setup = set_up(stage, settings, folder, say, arguments)
    planned = Plan.of(
        setup,
        arguments.world_size,
        memory=None if is_sharded() else expected_memory(setup, arguments.device),
    )
    for line in planned.lines():
        say(line)
    return setup, planned


def _train(
    stage: Stage,
    settings: TrainingSettings,
    folder: Path,
    say: Callable[[str], None],
    arguments: TrainingArguments,
    command: str | None,
) -> Outcome:
    """Train on this process, from the newest state if there is one; the main process writes the folder."""
    setup, planned = _set_up(stage, settings, folder, say, arguments)
    settings, model, validation = setup.settings, setup.model, setup.validation
    with arguments.main_process_first(desc="claiming the folder"):
        claim(folder, stage, settings)
    manager = CheckpointManager(folder, stage, setup, command)
    trainer = PERankTrainer(
        model,
        arguments,
        setup.visits,
        setup.collator,
        validation,
        manager.keep_best,
        folder,
        say,
        settings,
        setup.projector_rates,
    )
    manager.trainer = trainer
    if trainer.is_sharded and model.merger is not None:
        raise InputError("lora.merge_per_step needs whole weights; leave it out with FSDP or DeepSpeed")
    state = last_state(folder / "states", say)
    if state is None and trainer.is_world_process_zero():
        measured: dict[str, float] = {}
        if not trainer.is_sharded:
            planned, measured = _before(setup, planned, say)
        planned.write(folder)
        manager.begin_log(measured)
    try:
        trainer.train(resume_from_checkpoint=state)
    finally:
        trainer.progress.close()
        if trainer.is_world_process_zero():
            draw_curves(folder)
    step = trainer.state.global_step
    if setup.reconstruction is not None and not trainer.is_sharded:
        trainer.log(setup.reconstruction.measure(model))
    if validation is not None and manager.last_scored != step:
        trainer.evaluate()
    if trainer.is_world_process_zero():
        draw_curves(folder)
    checkpoint = manager.finish()
    return Outcome(step, manager.best, manager.best_step, checkpoint, manager.next_command(checkpoint))


def _before(setup: Setup, planned: Plan, say: Callable[[str], None]) -> tuple[Plan, dict[str, float]]:
    """Measure the model before its first step, and show its scores beside those of other orders.

    Returns:
        The plan with the scores, and the measures by their names in the log.
    """
    measured: dict[str, float] = {}
    with same_random_numbers():
        if setup.validation is not None:
            lists = setup.validation.lists
            planned = planned.with_scores(lists, lists.measure(setup.validation.orders(setup.model)))
            measured |= {f"eval_{name}": value for name, value in planned.model.items()}
        if setup.reconstruction is not None:
            rebuilt = setup.reconstruction.measure(setup.model)
            say(f"step 0: {', '.join(f'{name} {value:.4g}' for name, value in rebuilt.items())}")
            measured |= rebuilt
    for line in planned.score_lines():
        say(line)
    return planned, measured


def _say_nothing(line: str) -> None:
    """Drop a line: what all processes but the main one do with their messages."""
