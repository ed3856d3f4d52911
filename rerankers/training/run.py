"""One training from its settings: data, model, Trainer, checkpoints.

The result folder:

    settings.json      what is trained; the same command in the same folder goes on where it was
    log.jsonl          one line a logging step and evaluation
    states/            from which a killed training goes on: what learns, optimizer, schedule, random numbers
    best/              the checkpoint with the best nDCG@10 on the validation lists, if there are some
    last/              the checkpoint at the end
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import set_seed

from rerankers.encoders.encoder import Encoder
from rerankers.errors import InputError
from rerankers.files.folder_lock import FolderLock
from rerankers.llm.causal import CausalLM
from rerankers.pe_rank.projector import untrained_projector
from rerankers.pe_rank.prompt import PromptTemplate, PromptWriter
from rerankers.training.adapters import StepMerger, add_adapter
from rerankers.training.checkpoints import Keeper
from rerankers.training.data.batches import Visits, visits_of_epoch
from rerankers.training.data.lists import prepare_data, read_data
from rerankers.training.model import Objective, TrainableRanker
from rerankers.training.plan import first_score, plan_lines
from rerankers.training.processes import refuse_lost_processes
from rerankers.training.result_folder import claim, last_state, refuse_another
from rerankers.training.settings import PromptSettings
from rerankers.training.start import find_start, with_start
from rerankers.training.trainer import PERankTrainer, training_arguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import TrainingArguments

    from rerankers.training.data.lists import Data
    from rerankers.training.settings import Settings, Stage
    from rerankers.training.start import Start


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training came to: the step it ended at, and the best nDCG@10 with its step, if evaluated."""

    step: int
    best_score: float | None
    best_step: int | None
    checkpoint: Path


@dataclass(frozen=True, slots=True)
class _Setup:
    """Everything that a training consists of, before its first step."""

    settings: Settings
    base: CausalLM
    encoder: Encoder
    template: PromptTemplate
    data: Data
    model: TrainableRanker
    visits: Visits


def plan(
    stage: Stage, settings: Settings, folder: Path, say: Callable[[str], None], *, use_cpu: bool = False
) -> None:
    """Do everything that comes before the first step, say what would be trained, and leave the folder alone.

    Raises:
        InputError, ModelError: as `train`.
    """
    refuse_lost_processes()
    arguments = training_arguments(settings, folder / "states", use_cpu=use_cpu)
    setup = _set_up(stage, settings, folder, _say_nothing if arguments.process_index else say, arguments)
    if setup.data.validation is not None and not arguments.process_index:
        say(first_score(setup.data.validation, setup.model))


def train(
    stage: Stage, settings: Settings, folder: Path, say: Callable[[str], None], *, use_cpu: bool = False
) -> Outcome:
    """Train, or go on with a training that was killed.

    Raises:
        InputError: the data cannot be read, or the folder holds another training.
        StoreError: another process trains in the folder.
        ModelError: a model does not load, or does not fit the checkpoint to start from.
    """
    refuse_lost_processes()
    arguments = training_arguments(settings, folder / "states", use_cpu=use_cpu)
    if arguments.process_index:
        return _train(stage, settings, folder, _say_nothing, arguments)
    with FolderLock(folder):
        return _train(stage, settings, folder, say, arguments)


def _set_up(
    stage: Stage, settings: Settings, folder: Path, say: Callable[[str], None], arguments: TrainingArguments
) -> _Setup:
    say(f"training stage {stage} in {folder}")
    start = None if settings.init_from is None else find_start(settings.init_from)
    if start is not None:
        settings = with_start(settings, start)
        say(f"starting from {start.files.name}{_unlike_prompt(settings, start)}")
    refuse_another(folder, stage, settings)
    records = read_data(stage, settings)  # in seconds, before models load
    set_seed(settings.seed)
    device = str(arguments.device)
    base = CausalLM(
        settings.llm.model,
        revision=settings.llm.revision,
        dtype=settings.llm.dtype,
        device=device,
        attention=settings.llm.attention,
    )
    template = PromptTemplate(**settings.prompt.model_dump()) if settings.prompt else PromptTemplate()
    writer = PromptWriter(base.tokenizer, template)
    encoder = Encoder(
        settings.encoder.model,
        revision=settings.encoder.revision,
        pooling=settings.encoder.pooling,
        max_length=max(settings.encoder.max_length, settings.encoder.inference_max_length),
        query_prefix=settings.encoder.query_prefix,
        passage_prefix=settings.encoder.passage_prefix,
        similarity="cosine",  # projectors read vectors of length one
        dtype=settings.encoder.dtype,
        device=device,
    )
    with arguments.main_process_first(desc="embedding"):  # the others read its store
        data = prepare_data(stage, settings, records, writer, encoder, say)
    model = _model(settings, start, base, encoder)
    step_size = settings.optimizer.batch_size * settings.optimizer.accumulation * arguments.world_size
    epoch = visits_of_epoch(len(data.examples.lengths), step_size)
    visits = Visits(
        data.examples,
        batch_size=settings.optimizer.batch_size,
        step_size=step_size,
        steps=settings.optimizer.max_steps or max(1, round(settings.optimizer.epochs * epoch / step_size)),
        seed=settings.seed,
    )
    for line in plan_lines(settings.optimizer, visits, model, arguments.world_size):
        say(line)
    return _Setup(settings, base, encoder, template, data, model, visits)


def _train(
    stage: Stage, settings: Settings, folder: Path, say: Callable[[str], None], arguments: TrainingArguments
) -> Outcome:
    setup = _set_up(stage, settings, folder, say, arguments)
    settings, data, model, visits = setup.settings, setup.data, setup.model, setup.visits
    with arguments.main_process_first(desc="claiming the folder"):
        claim(folder, stage, settings)
    keeper = Keeper(folder, stage, settings, model, setup.base, setup.encoder, setup.template)
    trainer = PERankTrainer(
        model,
        arguments,
        visits,
        data.collator,
        data.validation,
        keeper.keep_best,
        folder / "log.jsonl",
        say,
        settings.optimizer.max_seconds,
    )
    keeper.trainer = trainer
    if trainer.is_sharded and model.merger is not None:
        raise InputError("lora.merge_per_step needs whole weights; leave it out with FSDP or DeepSpeed")
    state = last_state(folder / "states", say)
    if state is None and data.validation is not None and not trainer.is_sharded:
        say(first_score(data.validation, model))
    trainer.train(resume_from_checkpoint=state)
    step = trainer.state.global_step
    if data.validation is not None and keeper.last_scored != step:
        trainer.evaluate()
    keeper.keep(folder / "last", keeper.scores.get(step))
    best = folder / "best"
    return Outcome(
        step, keeper.best, keeper.best_step, best if keeper.best_step is not None else folder / "last"
    )


def _unlike_prompt(settings: Settings, start: Start) -> str:
    """Return a caveat where the training's prompt template is not the checkpoint's."""
    ours = settings.prompt or PromptSettings()
    if start.manifest is None or ours.model_dump() == start.manifest.prompt.model_dump():
        return ""
    return ", which was trained with another prompt template. Copy `prompt` of its pe_rank.json to keep it"


def _say_nothing(line: str) -> None:
    """All processes but the main one."""


def _model(settings: Settings, start: Start | None, base: CausalLM, encoder: Encoder) -> TrainableRanker:
    """The model with the right parts set to learn."""
    llm = base.model
    if start is None:
        projector = untrained_projector(
            encoder.dimension,
            llm.get_input_embeddings().weight,
            settings.seed,
            settings.projector.kind,
            settings.projector.scale,
        )
    else:
        projector = start.projector(encoder)
    merger = None
    if settings.tune == "lora":
        llm = add_adapter(llm, settings.lora, None if start is None else start.adapter_folder())
        if settings.lora.merge_per_step:
            if settings.optimizer.bf16 or base.model.dtype != torch.float32:
                raise InputError("lora.merge_per_step needs float32 weights and no bf16: merging rounds")
            merger = StepMerger(llm)
    elif settings.tune == "full":
        llm.requires_grad_(True)
        llm.get_output_embeddings().requires_grad_(_is_tied(llm))  # the vocabulary's logits are not learnt
    if settings.llm.gradient_checkpointing:
        base.model.activation_checkpointing_enable({"use_reentrant": False})
    loss = settings.loss
    objective = Objective(
        loss.reduction, loss.discount, loss.kl_weight, loss.first_step.weight, loss.first_step.temperature
    )
    return TrainableRanker(llm, projector.float().to(base.device).requires_grad_(True), objective, merger)


def _is_tied(llm: Any) -> bool:
    return llm.get_output_embeddings().weight is llm.get_input_embeddings().weight
