"""The base model that a LoRA adapter's configuration names; no weights are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.encoders.recipe import read_json
from rerankers.errors import ModelError
from rerankers.files.paths import existing_path
from rerankers.models.loading_report import ADAPTER_CONFIG
from rerankers.models.locate import find_model

if TYPE_CHECKING:
    from collections.abc import Mapping


def loaded_models(name: str, revision: str | None) -> tuple[tuple[str, str | None], ...]:
    """Return name and revision of each model that a language model's name loads: itself, and an adapter's
    base.

    The base of an adapter on the hub is left out, because it is not known before the adapter is fetched.

    Raises:
        ModelError: the adapter's configuration is damaged.
    """
    models: tuple[tuple[str, str | None], ...] = ((name, revision),)
    if existing_path(name):
        config = read_json(find_model(name), ADAPTER_CONFIG)
        if config:
            models += ((base_model_name(config, name), config.get("revision")),)
    return models


def base_model_name(config: Mapping[str, Any], name: str) -> str:
    """Return the name of the base model of an adapter.

    Args:
        config: the content of `adapter_config.json`.
        name: the adapter's name, for errors.

    Raises:
        ModelError: the configuration names none.
    """
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"{name!r}: base_model_name_or_path is {base!r} in {ADAPTER_CONFIG}. Set it to the model "
            "that the adapter was trained on."
        )
    return base
