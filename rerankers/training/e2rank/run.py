"""Runs one E2Rank training from its settings, by the Trainer that PE-Rank uses.

The result folder:

    settings.json      what is trained; the same command in the same folder goes on where it was
    log.jsonl          one line a logging step
    curves.svg, .png   the log as a picture, and training.html with it
    states/            from which a killed training goes on
    last/              the model at the end, which the reranker `e2rank` loads

Deviation from the published code: a batch may hold lists of several sources, of like length.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import set_seed

from rerankers.files.folder_lock import FolderLock
from rerankers.llm.causal import network_options
from rerankers.llm.hidden import HiddenLM
from rerankers.training.adapters import add_adapter
from rerankers.training.data.batches import Visits, visits_of_epoch
from rerankers.training.e2rank.data import ListExamples, collate, read_lists
from rerankers.training.e2rank.model import Objective, TrainableE2Rank
from rerankers.training.e2rank.texts import Lengths, TrainingTexts
from rerankers.training.monitoring.curves import draw_curves
from rerankers.training.planning.plan import records_line
from rerankers.training.processes import refuse_lost_processes
from rerankers.training.result_folder import claim, last_state, refuse_another
from rerankers.training.trainer import PERankTrainer, training_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from rerankers.training.e2rank.settings import E2RankSettings

_STAGE: Any = "e2rank"


def train(
    settings: E2RankSettings, folder: Path, say: Callable[[str], None], *, use_cpu: bool = False
) -> Path:
    """Train in a result folder, or go on with a training that was killed there.

    Return the folder of the model.

    Args:
        settings: of the training.
        folder: result folder.
        say: shows one line to a person.
        use_cpu: train on the CPU though there is a GPU.

    Raises:
        InputError: the data cannot be read, or the folder holds another training.
        StoreError: another process trains in the folder.
        ModelError: the model does not load.
    """
    refuse_lost_processes()
    as_pe_ranks: Any = _AsPERanks(settings)  # whose Trainer, arguments and folder are used
    arguments = training_arguments(as_pe_ranks, folder / "states", use_cpu=use_cpu)
    if arguments.process_index:
        return _train(settings, as_pe_ranks, folder, lambda _: None, arguments)
    with FolderLock(folder):
        return _train(settings, as_pe_ranks, folder, say, arguments)


def _train(
    settings: E2RankSettings, as_pe_ranks: Any, folder: Path, say: Callable[[str], None], arguments: Any
) -> Path:
    """Train on this process, from the newest state if there is one, and save the model; return its folder."""
    say(f"training e2rank in {folder}")
    refuse_another(folder, _STAGE, as_pe_ranks)
    records = read_lists(Path(settings.data.train), settings.data.list_size)  # before the model loads
    set_seed(settings.seed)
    llm = settings.llm
    loaded = HiddenLM(llm.model, **network_options(llm, str(arguments.device)))
    texts = TrainingTexts(loaded.tokenizer, llm.model, Lengths(**settings.lengths.model_dump()))
    model = TrainableE2Rank(_learning(settings, loaded.decoder), Objective(**settings.loss.model_dump()))
    optimizer = settings.optimizer
    step_size = optimizer.batch_size * optimizer.accumulation * arguments.world_size
    epoch = visits_of_epoch(len(records), step_size)
    visits = Visits(
        ListExamples(records, texts, settings.data.list_size),
        batch_size=optimizer.batch_size,
        step_size=step_size,
        steps=optimizer.max_steps or max(1, round(optimizer.epochs * epoch / step_size)),
        seed=settings.seed,
    )
    anything: Any = model
    say(records_line(arguments.world_size, optimizer.accumulation, optimizer.batch_size))
    say(f"{len(visits) // step_size} steps, {len(visits) / visits.epoch_size:.3g} epochs of {epoch} records")
    with arguments.main_process_first(desc="claiming the folder"):
        claim(folder, _STAGE, as_pe_ranks)
    trainer = PERankTrainer(
        anything,
        arguments,
        visits,
        collate,
        None,
        lambda _step, _score: None,
        folder,
        say,
        as_pe_ranks,
        {},
    )
    try:
        trainer.train(resume_from_checkpoint=last_state(folder / "states", say))
    finally:
        trainer.progress.close()
        if trainer.is_world_process_zero():
            draw_curves(folder)
    state = trainer.full_state()
    if trainer.is_world_process_zero():
        _save(folder / "last", model, state, loaded.tokenizer)
    return folder / "last"


def _learning(settings: E2RankSettings, decoder: Any) -> Any:
    """Return the decoder with all parameters, or those of a new adapter, set to learn."""
    if settings.llm.gradient_checkpointing:
        decoder.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.tune == "lora":
        return add_adapter(decoder, settings.lora, None, "FEATURE_EXTRACTION")
    return decoder.requires_grad_(True)


def _save(folder: Path, model: TrainableE2Rank, state: Mapping[str, torch.Tensor], tokenizer: Any) -> None:
    """Write the trained model, adapter merged, and tokenizer into a folder, in place of any that is there.

    The folder is written completely or not at all.
    """
    decoder = model.decoder
    weights: dict[str, Any] | None = {name.removeprefix("decoder."): value for name, value in state.items()}
    if hasattr(decoder, "peft_config"):
        decoder, weights = decoder.merge_and_unload(), None
    scratch = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(scratch, ignore_errors=True)
    decoder.save_pretrained(scratch, state_dict=weights)
    tokenizer.save_pretrained(scratch)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)


class _AsPERanks:
    """An E2Rank training's settings under the names that PE-Rank's Trainer and result folder read."""

    def __init__(self, settings: E2RankSettings) -> None:
        self._settings = settings
        self.optimizer, self.seed = settings.optimizer, settings.seed
        self.log_every, self.save_every = settings.log_every, settings.save_every
        self.evaluate_every = self.init_from = self.early_stopping = self.report_to = None
        self.data = _TrainingData(settings.data.train)

    def model_dump(self, *, exclude: set[str]) -> dict[str, Any]:
        """Return the settings as a mapping, without those of the names `exclude`."""
        values = self._settings.model_dump(exclude=exclude)
        values["data"]["validation"] = None
        return values


class _TrainingData:
    """The path of the training data, with None for held-out lists."""

    def __init__(self, train: str) -> None:
        self.train, self.validation = train, None
