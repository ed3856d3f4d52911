"""The gate that every model's weights pass: complete and without surplus, or refused by name.

transformers fills a missing weight with noise and drops a surplus one, each with a warning. Scores are then
random, and differ from run to run. Every loader of this project calls one of the functions below instead.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rerankers.models.model_files import ModelFiles

ADAPTER_CONFIG = "adapter_config.json"
"""The file by which transformers and PEFT tell an adapter."""

WHOLE_MODELS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Files of weights that make a folder a whole model."""

POOLER = r"pooler\.dense\."
"""Weights that an encoder may lack: embeddings are pooled from the hidden states, never by this layer."""

# Weights that complete checkpoints on the hub carry and that the loaded architecture does not use.
_UNUSED = re.compile(
    "|".join(
        (
            r"(.*\.)?position_ids$",  # a buffer that old versions of transformers saved
            rf"(\w+\.)?{POOLER}",  # from pretraining; a classifier that reads it has it among its own
            r"cls\.(predictions|seq_relationship)\.",  # BERT's heads of masked words and next sentences
            r"lm_head\.",  # RoBERTa's head of masked words, and a language model's beside a classifier's
            r"(lm|mask|discriminator|generator)_predictions\.",  # DeBERTa's and ELECTRA's
            r"vocab_(transform|layer_norm|projector)\.",  # DistilBERT's
            r"linear\.weight$",  # ColBERT's projection, which sentence-transformers reads by itself
        )
    )
)
_PATCH = threading.RLock()


def load_complete(name: str, load: Callable[..., Any], may_lack: str | None = None) -> Any:
    """Return the model that a loader returns, if its loading report is clean.

    Args:
        name: the model's name, for errors.
        load: a `from_pretrained` of transformers with all its arguments bound.
        may_lack: a pattern of weights that may be missing.

    Raises:
        ModelError: weights are missing, surplus or of another shape.
    """
    model, report = load(output_loading_info=True, ignore_mismatched_sizes=True)
    check_report(name, type(model).__name__, report, may_lack)
    return model


def refuse_adapter(files: ModelFiles) -> None:
    """Refuse a model's files if they contain an adapter.

    transformers would load the adapter's base model, which would neither be recorded nor pass the gate, and
    would ignore a whole model beside the adapter.

    Raises:
        ModelError: there is an `adapter_config.json`.
    """
    from rerankers.models.model_files import find_file

    if find_file(files, ADAPTER_CONFIG) is not None:
        raise ModelError(
            f"{files.name!r} holds an adapter ({ADAPTER_CONFIG}). Merge it into its base model with PEFT, "
            "and name the result. Only cross-encoders, language models and pe-rank load adapters."
        )


@contextmanager
def complete_weights(name: str, may_lack: str | None = None) -> Iterator[None]:
    """Refuse incomplete models that a library loads inside the `with` block without showing its loading
    report.

    sentence-transformers calls `from_pretrained` itself; inside the block that method passes its report to
    the gate. One thread at a time loads models in this way.

    Args:
        name: the model's name, for errors.
        may_lack: a pattern of weights that may be missing.

    Raises:
        ModelError: weights are missing, surplus or of another shape.
    """
    from transformers import PreTrainedModel

    base: Any = PreTrainedModel
    with _PATCH:
        plain = base.__dict__["from_pretrained"]

        def from_pretrained(cls: type[Any], /, *args: Any, **how: Any) -> Any:
            """Return the model that the original method loads, if its loading report is clean."""
            wants_report = how.get("output_loading_info", False)
            how |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
            model, report = plain.__get__(None, cls)(*args, **how)
            check_report(name, type(model).__name__, report, may_lack)
            return (model, report) if wants_report else model

        base.from_pretrained = classmethod(from_pretrained)
        try:
            yield
        finally:
            base.from_pretrained = plain


def check_report(
    name: str, architecture: str, report: Mapping[str, Iterable[Any]], may_lack: str | None = None
) -> None:
    """Refuse a loading report of transformers that is not clean.

    Args:
        name: the model's name, for errors.
        architecture: the class that was loaded, for errors.
        report: the report, with missing, unexpected and mismatched weights.
        may_lack: a pattern of weights that may be missing.

    Raises:
        ModelError: weights are missing, surplus or of another shape.
    """
    refuse_misfits(
        name, report["missing_keys"], report["unexpected_keys"], architecture=architecture, may_lack=may_lack
    )
    for key, stored, expected in sorted(report.get("mismatched_keys", ())):
        raise ModelError(
            f"{name!r}: the weight {key!r} has the shape {tuple(stored)}, but its {architecture} needs "
            f"{tuple(expected)}. Correct config.json, or download the model again."
        )


def refuse_misfits(
    name: str,
    missing: Iterable[str],
    surplus: Iterable[str],
    *,
    architecture: str = "architecture",
    may_lack: str | None = None,
) -> None:
    """Refuse weights that are not those of the architecture, except for known leftovers.

    Args:
        name: the model's name, for errors.
        missing: names of weights that the architecture has and the files lack.
        surplus: names of weights that the files have and the architecture lacks.
        architecture: the class that the weights were loaded into, for errors.
        may_lack: a pattern of weights that may be missing.

    Raises:
        ModelError: weights are missing or surplus.
    """
    missing = sorted(key for key in missing if not (may_lack and re.search(may_lack, key)))
    surplus = sorted(key for key in surplus if not _UNUSED.match(key))
    if missing and surplus:
        raise ModelError(
            f"{name!r} lacks {len(missing)} weights of its {architecture}, first {missing[0]!r}, and has "
            f"{len(surplus)} others, first {surplus[0]!r}. Name a checkpoint of that architecture."
        )
    if missing:
        raise ModelError(
            f"{name!r} lacks {len(missing)} weights of its {architecture}, first {missing[0]!r}. "
            "They would be random. Download the model again, or name a complete one."
        )
    if surplus:
        raise ModelError(
            f"{name!r} has {len(surplus)} weights too many for its {architecture}, first {surplus[0]!r}. "
            "Name a checkpoint of that architecture, or correct architectures and model_type in config.json."
        )
