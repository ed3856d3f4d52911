"""How an embedding model is meant to be used: pooling, prefixes, longest input. Data, not code.

A hub id that `presets.toml` knows follows its authors' model card. Anything else is asked itself: the
sentence-transformers files in its folder (`1_Pooling/config.json`, `sentence_bert_config.json`) say how its
authors pooled and cut; without them the mean over tokens is taken.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from rerankers.encoders.weights import find_file
from rerankers.errors import ModelError

if TYPE_CHECKING:
    from rerankers.models import ModelFiles

Pooling = Literal["mean", "cls", "last_token"]

_SENTENCE_TRANSFORMERS: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last_token",
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last_token",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Pooling, prefixes and the longest input (tokens, special ones included; None where nobody says)."""

    pooling: Pooling = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""
    max_length: int | None = None


def presets() -> dict[str, dict[str, Any]]:
    """Every preset by hub id, as written in `presets.toml`."""
    return tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))


def find_recipe(files: ModelFiles) -> Recipe:
    """The recipe of a model: its preset, else what its own files say, else mean pooling.

    Raises:
        ModelError: its files ask for a pooling that nothing here computes.
    """
    preset = presets().get(files.name)
    if preset is not None:
        return Recipe(**{key: value for key, value in preset.items() if key != "source"})
    length = read_json(files, "sentence_bert_config.json").get("max_seq_length")
    if not (length is None or (isinstance(length, int) and length > 0)):
        raise ModelError(f"{files.name!r}: max_seq_length is {length!r}, which is no length; correct it")
    pooling = _stated_pooling(files.name, read_json(files, "1_Pooling/config.json"))
    return Recipe(pooling=pooling, max_length=length)


def read_json(files: ModelFiles, name: str) -> dict[str, Any]:
    """One of a model's JSON files; empty where the model has none.

    Raises:
        ModelError: it is no JSON object.
    """
    path = find_file(files, name)
    if path is None:
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged ({error}); download {files.name!r} again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: no JSON object; download {files.name!r} again")
    return value


def _stated_pooling(name: str, config: dict[str, Any]) -> Pooling:
    """Read either form: one flag a mode (sentence-transformers up to 5) or `pooling_mode: mean`."""
    stated = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if isinstance(config.get("pooling_mode"), str):
        stated = [config["pooling_mode"]]
    if not stated:
        return "mean"
    if len(stated) > 1 or stated[0] not in _SENTENCE_TRANSFORMERS:
        raise ModelError(
            f"{name!r} pools by {' + '.join(stated)}; set pooling to one of {', '.join(get_args(Pooling))}"
        )
    return _SENTENCE_TRANSFORMERS[stated[0]]
