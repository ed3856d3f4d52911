"""Puts together the training of a cross-encoder: data, model, checkpoint writer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import set_seed

from rerankers.errors import MissingExtraError
from rerankers.models.loading_report import complete_weights, refuse_adapter
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.models.stated_code import check_stated_code, stated_activation
from rerankers.models.vocabulary import check_vocabulary
from rerankers.training.cross_encoder.checkpoint import CrossEncoderWriter
from rerankers.training.cross_encoder.evaluation import PairValidation
from rerankers.training.cross_encoder.lists import PairCollator, ScoredExamples, read_scored
from rerankers.training.cross_encoder.model import TrainableCrossEncoder
from rerankers.training.data.examples import ListChoice
from rerankers.training.result_folder import refuse_another
from rerankers.training.setup import Setup, all_visits

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import TrainingArguments

    from rerankers.models.model_files import ModelFiles
    from rerankers.training.cross_encoder.settings import CrossEncoderSettings
    from rerankers.training.settings import Stage

_TRAINED = r"^(classifier|score|classification_head)\.|pooler\.dense\."
"""Weights that a training makes, where the encoder has none: the head, and the pooler before it."""


def set_up(
    stage: Stage,
    settings: CrossEncoderSettings,
    folder: Path,
    say: Callable[[str], None],
    arguments: TrainingArguments,
) -> Setup:
    """Put together the training of a cross-encoder; see `SetUp`."""
    refuse_another(folder, stage, settings)
    lists = read_scored(Path(settings.data.train), settings)  # in seconds, before the encoder loads
    validation = None
    if settings.data.validation is not None:
        held_out = read_scored(Path(settings.data.validation), settings)
        validation = PairValidation(held_out[: settings.data.validation_limit])
    set_seed(settings.seed)  # of the head, too
    files = find_model(settings.model, settings.revision)
    encoder = _load(files, settings, str(arguments.device))
    commit = getattr(encoder[0].model.config, "_commit_hash", None)
    model = TrainableCrossEncoder(encoder, _set_to_learn(encoder, settings))
    examples = ScoredExamples(lists, ListChoice(settings.data.list_size, settings.data.shuffle))
    say(f"{len(lists)} lists of {_passages(settings)} passages")
    return Setup(
        settings=settings,
        model=model,
        visits=all_visits(settings, examples, arguments.world_size),
        collator=PairCollator(encoder),
        validation=validation,
        writer=CrossEncoderWriter(settings, model, files.fingerprint or commit),
    )


def _load(files: ModelFiles, settings: CrossEncoderSettings, device: str) -> Any:
    """Return the model as a `CrossEncoder` of sentence-transformers, with a head for one score."""
    from sentence_transformers import CrossEncoder

    refuse_adapter(files)
    check_stated_code(files)
    activation = getattr(torch.nn, stated_activation(files) or "Sigmoid")()
    with loading("encoder", files.name), complete_weights(files.name, may_lack=_TRAINED):
        encoder = CrossEncoder(
            files.location,
            num_labels=1,
            max_length=settings.max_length,
            activation_fn=activation,
            revision=settings.revision,
            device=device,
        )
        check_vocabulary(files.name, encoder.tokenizer)
    return encoder


def _set_to_learn(encoder: Any, settings: CrossEncoderSettings) -> Any | None:
    """Set an adapter and the head to learn, or all of the model.

    Returns:
        PEFT's wrapping of the network; None without an adapter.
    """
    if settings.tune == "full":
        encoder.requires_grad_(True)
        return None
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("training a LoRA adapter", "train") from error
    lora = settings.lora
    config = peft.LoraConfig(
        task_type="SEQ_CLS",  # the head learns too
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
    )
    return peft.get_peft_model(encoder[0].model, config)  # in place: `encoder` trains the same layers


def _passages(settings: CrossEncoderSettings) -> str:
    """Return a text on how many passages of a list are shown."""
    size = settings.data.list_size
    return "all their" if size is None else f"{size} drawn"
