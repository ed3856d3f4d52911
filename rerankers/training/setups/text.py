"""Puts together the training of a listwise text ranker: data, model, checkpoint writer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import set_seed

from rerankers.errors import InputError
from rerankers.llm.causal import CausalLM, network_options
from rerankers.training.adapters import set_to_learn
from rerankers.training.data.examples import ListChoice
from rerankers.training.data.lists import check_queries
from rerankers.training.data.records import read_ranking
from rerankers.training.result_folder import refuse_another
from rerankers.training.setup import Setup, all_visits
from rerankers.training.text.checkpoint import TextWriter
from rerankers.training.text.evaluation import TextValidation
from rerankers.training.text.examples import TextExamples, collate
from rerankers.training.text.model import TrainableTextRanker
from rerankers.training.text.prompts import TextPrompts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import TrainingArguments

    from rerankers.training.data.records import RankingRecord
    from rerankers.training.settings import Stage
    from rerankers.training.text.settings import TextSettings


def set_up(
    stage: Stage,
    settings: TextSettings,
    folder: Path,
    say: Callable[[str], None],
    arguments: TrainingArguments,
) -> Setup:
    """Put together the training of a text ranker; see `SetUp`."""
    refuse_another(folder, stage, settings)
    records, held_out = _read(settings)  # in seconds, before the model loads
    set_seed(settings.seed)
    llm = settings.llm
    base = CausalLM(llm.model, **network_options(llm, str(arguments.device)))
    if "base_model" in base.describe() and settings.tune == "lora":
        raise InputError(
            f"llm.model: {llm.model!r} is an adapter, and an adapter on an adapter cannot be saved. Merge it "
            "into its base model with PEFT, and name the result, or set tune: full."
        )
    prompts = TextPrompts(
        base.tokenizer, llm.model, settings.prompt, settings.passage_words, settings.template_variables
    )
    choice = ListChoice(settings.data.list_size, settings.data.shuffle)
    examples = TextExamples(records, prompts, choice, settings.max_length)
    passages = [passage for record in records for passage in record.passages]
    cut = sum(map(prompts.is_cut, passages))
    say(
        f"{len(records)} lists, about {round(float(examples.lengths.mean()))} tokens each; {cut} of "
        f"{len(passages)} passages are cut after {settings.passage_words} words"
    )
    validation = None if held_out is None else TextValidation(held_out, prompts, settings, base)
    adapted, merger = set_to_learn(base, settings, None, checkpointing=llm.gradient_checkpointing)
    model = TrainableTextRanker(adapted, merger)
    longest = max(choice.count(len(record.passages)) for record in records)
    return Setup(
        settings=settings,
        model=model,
        visits=all_visits(settings, examples, arguments.world_size),
        collator=collate,
        validation=validation,
        writer=TextWriter(settings, model, base, longest),
    )


def _read(settings: TextSettings) -> tuple[Sequence[RankingRecord], Sequence[RankingRecord] | None]:
    """Return the records for training and the held-out ones (None without), each checked to have a query."""
    path = Path(settings.data.train)
    records = read_ranking(path)
    check_queries(path, records)
    if settings.data.validation is None:
        return records, None
    path = Path(settings.data.validation)
    held_out = read_ranking(path)[: settings.data.validation_limit]
    check_queries(path, held_out)
    return records, held_out
