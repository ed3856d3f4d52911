"""Writes the trained weights of a language model: PEFT's files of an adapter, or the whole model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.files.paths import existing_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch


def is_adapted(llm: Any) -> bool:
    """Return whether a language model is wrapped by PEFT, that is, learns through an adapter."""
    return hasattr(llm, "peft_config")


def save_adapter(folder: Path, llm: Any, state: Mapping[str, torch.Tensor], base: str) -> None:
    """Write PEFT's files of an adapter, and no others, into a folder.

    Args:
        folder: of the checkpoint.
        llm: the model, wrapped by PEFT.
        state: its weights by name.
        base: name of the base model, which the files state.
    """
    for config in llm.peft_config.values():
        config.base_model_name_or_path = base
    # nothing was added to the vocabulary, and PEFT would ask the hub about it
    llm.save_pretrained(folder, state_dict=dict(state), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's template of a card; ours takes its place


def save_whole(folder: Path, llm: Any, state: Mapping[str, torch.Tensor], tokenizer: Any) -> None:
    """Write a language model with the weights `state`, and its tokenizer, in transformers' layout."""
    llm.save_pretrained(folder, state_dict=dict(state))
    tokenizer.save_pretrained(folder)


def portable(name: str) -> str:
    """Return a model's name that means the same from any folder: local paths become absolute."""
    folder = existing_path(name)
    return name if folder is None else str(folder.resolve())
