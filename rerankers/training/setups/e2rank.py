"""Puts together the training of E2Rank: data, model, checkpoint writer.

Deviation from the published code: a batch may hold lists of several sources, of like length.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import set_seed

from rerankers.llm.causal import network_options
from rerankers.llm.hidden import HiddenLM
from rerankers.training.adapters import add_adapter
from rerankers.training.e2rank.checkpoint import E2RankWriter
from rerankers.training.e2rank.data import ListExamples, collate, read_lists
from rerankers.training.e2rank.model import Objective, TrainableE2Rank
from rerankers.training.e2rank.texts import Lengths, TrainingTexts
from rerankers.training.result_folder import refuse_another
from rerankers.training.setup import Setup, all_visits

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import TrainingArguments

    from rerankers.training.e2rank.settings import E2RankSettings
    from rerankers.training.settings import Stage


def set_up(
    stage: Stage,
    settings: E2RankSettings,
    folder: Path,
    say: Callable[[str], None],
    arguments: TrainingArguments,
) -> Setup:
    """Put together the training of E2Rank; see `SetUp`."""
    refuse_another(folder, stage, settings)
    records = read_lists(Path(settings.data.train), settings.data.list_size)  # before the model loads
    set_seed(settings.seed)
    llm = settings.llm
    base = HiddenLM(llm.model, **network_options(llm, str(arguments.device)))
    texts = TrainingTexts(base.tokenizer, llm.model, Lengths(**settings.lengths.model_dump()))
    model = TrainableE2Rank(_learning(settings, base.decoder), Objective(**settings.loss.model_dump()))
    examples = ListExamples(records, texts, settings.data.list_size)
    return Setup(
        settings=settings,
        model=model,
        visits=all_visits(settings, examples, arguments.world_size),
        collator=collate,
        validation=None,
        writer=E2RankWriter(settings, model, base),
    )


def _learning(settings: E2RankSettings, decoder: Any) -> Any:
    """Return the decoder with all parameters, or those of a new adapter, set to learn."""
    if settings.llm.gradient_checkpointing:
        decoder.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.tune == "lora":
        return add_adapter(decoder, settings.lora, None, "FEATURE_EXTRACTION")
    return decoder.requires_grad_(True)
