"""The loading of a sequence-to-sequence model, such as a T5, and its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.llm.causal import LoadedNetwork, NetworkOptions, load_network
from rerankers.models.loading_report import refuse_adapter
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from typing import Unpack


def load_seq2seq(model: str, *, architecture: Any = None, **options: Unpack[NetworkOptions]) -> LoadedNetwork:
    """Return a sequence-to-sequence model with its tokenizer, its weights complete.

    Args:
        model: hub id, folder or wheel; see `rerankers.models.locate`.
        architecture: an object with `from_pretrained`; None is transformers' own class for the model.
        options: revision, device, dtype and attention.

    Raises:
        InputError: no such folder or device.
        ModelError: the files do not load, hold an adapter, or a weight is missing or surplus.
    """
    from transformers import AutoModelForSeq2SeqLM

    refuse_adapter(find_model(model, options.get("revision")))
    return load_network(architecture or AutoModelForSeq2SeqLM, model, **options)
