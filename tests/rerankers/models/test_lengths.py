"""The longest input is the one that the model itself accepts."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rerankers.models.lengths import usable_positions

TABLE = 24
SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": TABLE,
}


@pytest.mark.parametrize(
    ("model_type", "pad_token_id", "usable"),
    [
        ("bert", 1, TABLE),
        ("roberta", 1, TABLE - 1 - 1),
        ("xlm-roberta", 3, TABLE - 3 - 1),
        ("camembert", 1, TABLE - 1 - 1),
        ("esm", 1, TABLE - 1 - 1),
        ("mpnet", 3, TABLE - 1 - 1),  # its code fixes the padding row at 1
    ],
)
def test_the_longest_input_runs_and_one_token_more_does_not(
    model_type: str, pad_token_id: int, usable: int
) -> None:
    from transformers import AutoConfig, AutoModel

    config: Any = AutoConfig.for_model(model_type, **SIZES, pad_token_id=pad_token_id)
    model: Any = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    model.eval()
    assert usable_positions(config) == usable
    with torch.no_grad():
        model(input_ids=torch.full((1, usable), 7))
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, usable + 1), 7))


@pytest.mark.parametrize(
    "config",
    [
        SimpleNamespace(max_position_embeddings=512, position_embedding_type="alibi"),
        SimpleNamespace(max_position_embeddings=-1),  # XLNet: relative positions
        SimpleNamespace(d_model=8),  # T5: relative positions
    ],
)
def test_positions_without_a_table_set_no_limit(config: SimpleNamespace) -> None:
    assert usable_positions(config) is None


def test_every_model_with_positions_behind_its_padding_is_known() -> None:
    import transformers.models

    table = re.compile(
        r"position_embeddings = nn\.Embedding\(\s*config\.max_position_embeddings,"
        r"\s*config\.hidden_size,\s*padding_idx=self\.padding_idx"
    )
    named = re.compile(r"^    model_type = \"(.+)\"", re.MULTILINE)
    no_text_encoder = {"evolla", "pp_doclayout_v2"}  # their tables belong to proteins and page layouts
    for source in Path(transformers.models.__path__[0]).glob("*/modeling_*.py"):
        if source.parent.name in no_text_encoder or not table.search(source.read_text(encoding="utf-8")):
            continue
        stem = source.name.replace("modeling_", "configuration_")
        types = named.findall((source.parent / stem).read_text(encoding="utf-8"))
        lengths = {
            usable_positions(SimpleNamespace(model_type=name, max_position_embeddings=100, pad_token_id=1))
            for name in types
        }
        assert 100 - 1 - 1 in lengths, source.name
