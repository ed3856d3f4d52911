"""What a model's own files say about it, read strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rerankers.encoders.recipe import Recipe, find_recipe
from rerankers.errors import ModelError
from rerankers.models import find_model

if TYPE_CHECKING:
    from pathlib import Path


def test_a_length_of_the_models_own_is_kept(tmp_path: Path) -> None:
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    assert find_recipe(find_model(str(tmp_path))) == Recipe(max_length=256)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"max_seq_length": 0}', "max_seq_length is 0, which is no length; correct it"),
        ('{"max_seq_length": "long"}', "max_seq_length is 'long', which is no length; correct it"),
        ("[256]", r"sentence_bert_config\.json: no JSON object; download .* again"),
        ("{", r"sentence_bert_config\.json: damaged .*; download .* again"),
    ],
)
def test_files_that_say_nothing_sensible_are_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "sentence_bert_config.json").write_text(content)
    with pytest.raises(ModelError, match=says):
        find_recipe(find_model(str(tmp_path)))
