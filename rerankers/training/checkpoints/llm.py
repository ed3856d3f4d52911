"""Writes what of a language model was trained: PEFT's files of an adapter, or the whole model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.files.paths import existing_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch


def is_adapted(llm: Any) -> bool:
    """Return whether a language model learns through an adapter."""
    return hasattr(llm, "peft_config")


def save_adapter(folder: Path, llm: Any, state: Mapping[str, torch.Tensor], base: str) -> None:
    """Write PEFT's files of an adapter and nothing else; they name the base model `base`."""
    for config in llm.peft_config.values():
        config.base_model_name_or_path = base
    # nothing was added to the vocabulary, and PEFT would ask the hub about it
    llm.save_pretrained(folder, state_dict=dict(state), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's template of a card; ours takes its place


def save_whole(folder: Path, llm: Any, state: Mapping[str, torch.Tensor], tokenizer: Any) -> None:
    """Write a whole language model with its tokenizer in transformers' layout."""
    llm.save_pretrained(folder, state_dict=dict(state))
    tokenizer.save_pretrained(folder)


def portable(name: str) -> str:
    """Return a model's name that means the same from any folder."""
    folder = existing_path(name)
    return name if folder is None else str(folder.resolve())
