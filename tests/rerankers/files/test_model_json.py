"""No settings file of a model may say two things under one key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rerankers.errors import ModelError
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer_config.json",
        "adapter_config.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "model.safetensors.index.json",
        "modules.json",
    ],
)
def test_a_key_that_stands_twice_in_a_local_model_is_refused_by_file_and_name(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    inner = '{"other": 1, "hidden_size": 8, "hidden_size": 9}'
    for content in (inner, f'{{"text_config": {inner}}}', f"[{inner}]"):
        path.write_text(content)
        with pytest.raises(ModelError) as raised:
            find_model(str(tmp_path))
        assert str(raised.value).startswith(f"{path}: the key 'hidden_size' stands twice")
