"""Fixtures of the tests of PE-Rank checkpoints."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.rerankers.pe_rank.checkpoint_files import FOLDER, load

if TYPE_CHECKING:
    from pathlib import Path

    pass


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the full model's Mistral alone, as a plain checkpoint."""
    folder = tmp_path_factory.mktemp("base")
    full = load(FOLDER)
    from transformers import MistralForCausalLM

    llm = MistralForCausalLM(full.llm.transformer.config)
    llm.model.load_state_dict(full.llm.transformer.state_dict())
    llm.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(FOLDER / name, folder / name)
    return folder
