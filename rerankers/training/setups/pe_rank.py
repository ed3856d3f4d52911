"""Puts together the training of PE-Rank, in the stages `align`, `query` and `rank`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import set_seed

from rerankers.encoders.encoder import Encoder
from rerankers.llm.causal import CausalLM, network_options
from rerankers.pe_rank.projector import untrained_projector
from rerankers.pe_rank.prompt import PromptTemplate, PromptWriter
from rerankers.training.adapters import set_to_learn
from rerankers.training.checkpoints.pe_rank import PERankWriter
from rerankers.training.data.lists import prepare_data, read_data
from rerankers.training.model import Objective, TrainableRanker
from rerankers.training.planning.rates import limited_rates
from rerankers.training.result_folder import refuse_another
from rerankers.training.settings import PromptSettings
from rerankers.training.setup import Setup, all_visits
from rerankers.training.start import find_start, with_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import TrainingArguments

    from rerankers.training.settings import Settings, Stage
    from rerankers.training.start import Start


def set_up(
    stage: Stage, settings: Settings, folder: Path, say: Callable[[str], None], arguments: TrainingArguments
) -> Setup:
    """Put together a stage of PE-Rank's training; see `SetUp`."""
    start = None if settings.init_from is None else find_start(settings.init_from)
    if start is not None:
        settings = with_start(settings, start)
        say(f"starting from {start.files.name}{_unlike_prompt(settings, start)}")
    refuse_another(folder, stage, settings)
    records = read_data(stage, settings)  # in seconds, before models load
    set_seed(settings.seed)
    device = str(arguments.device)
    base = CausalLM(settings.llm.model, **network_options(settings.llm, device))
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
    limit, rate = settings.projector.step_limit, settings.optimizer.learning_rate
    return Setup(
        settings=settings,
        model=model,
        visits=all_visits(settings, data.examples, arguments.world_size),
        collator=data.collator,
        validation=data.validation,
        writer=PERankWriter(stage, settings, model, base, encoder, template),
        reconstruction=data.reconstruction,
        truncations=data.truncations,
        projector_rates=limited_rates(model.projector, data.collator.passages, rate, limit) if limit else {},
    )


def _unlike_prompt(settings: Settings, start: Start) -> str:
    """Return a caveat if the training's prompt template is not the checkpoint's; else ""."""
    ours = settings.prompt or PromptSettings()
    if start.manifest is None or ours.model_dump() == start.manifest.prompt.model_dump():
        return ""
    return ", which was trained with another prompt template. Copy `prompt` of its pe_rank.json to keep it"


def _model(settings: Settings, start: Start | None, base: CausalLM, encoder: Encoder) -> TrainableRanker:
    """Return the model to train: its projector new or from `start`, the part `tune` set to learn."""
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
    adapter = None if start is None else start.adapter_folder()
    checkpointing = settings.llm.gradient_checkpointing
    llm, merger = set_to_learn(base, settings, adapter, checkpointing=checkpointing)
    if settings.tune == "full":
        llm.get_output_embeddings().requires_grad_(_is_tied(llm))  # the vocabulary's logits are not learnt
    loss = settings.loss
    objective = Objective(
        loss.reduction, loss.discount, loss.kl_weight, loss.first_step.weight, loss.first_step.temperature
    )
    return TrainableRanker(llm, projector.float().to(base.device).requires_grad_(True), objective, merger)


def _is_tied(llm: Any) -> bool:
    """Return whether a language model's output and input embeddings are one weight."""
    return llm.get_output_embeddings().weight is llm.get_input_embeddings().weight
