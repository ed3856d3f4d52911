"""Descriptions of the options of rerankers for people and editors: type, bounds, default and meaning.

All of it is read from the options models (`rerankers.options`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerankers.options import QRELS
from rerankers.registry import options_model

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class OptionDoc:
    """The description of one option of a reranker, as text.

    Attributes:
        name: the option's key.
        type: the allowed values, bounds included.
        default: the default as YAML writes it, or `required`.
        meaning: the docstring of the field; empty if there is none.
    """

    name: str
    type: str
    default: str
    meaning: str


def describe_options(reranker: str) -> list[OptionDoc]:
    """Return a description of each option of a reranker, in the order of their declaration.

    Args:
        reranker: its registered name, or `module:Class`.

    Raises:
        UnknownNameError: no reranker has this name.
    """
    schema = options_schema(reranker)
    definitions = schema.get("$defs", {})
    return [
        OptionDoc(
            name,
            type_text(option, definitions),
            REQUIRED if name in schema.get("required", ()) else _as_yaml(option.get("default")),
            option.get("description", ""),
        )
        for name, option in schema["properties"].items()
    ]


def options_schema(reranker: str) -> dict[str, Any]:
    """Return the JSON Schema of a reranker's options, their meanings as descriptions.

    The option `qrels`, which the harness fills, is left out.

    Raises:
        UnknownNameError: no reranker has this name.
    """
    model = options_model(reranker)
    schema = model.model_json_schema()
    schema.pop("description", None)
    properties = schema.setdefault("properties", {})
    if model.needs_qrels:
        properties.pop(QRELS)
    for option in properties.values():
        option.pop("title", None)
        if "description" in option:
            option["description"] = " ".join(option["description"].split())
    return schema


_BOUNDS = {
    "minimum": "at least {}",
    "ge": "at least {}",
    "exclusiveMinimum": "more than {}",
    "gt": "more than {}",
    "maximum": "at most {}",
    "le": "at most {}",
    "exclusiveMaximum": "less than {}",
    "lt": "less than {}",
    "minItems": "at least {} entries",
}
"""Words for the bounds in a JSON Schema; pydantic writes those behind a validator by its own names."""


def type_text(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], links: Mapping[str, str] | None = None
) -> str:
    """Return the allowed values of a JSON Schema in a few words: `integer, at least 1, or null`.

    Args:
        schema: the schema of one value.
        definitions: the schemas that `$ref` refers to, by name.
        links: by name, what stands for a definition in place of its values.
    """
    links = links or {}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return links.get(name) or type_text(definitions[name], definitions, links)
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if branches:
        return ", or ".join(dict.fromkeys(type_text(branch, definitions, links) for branch in branches))
    if "enum" in schema:
        return " | ".join(map(_as_yaml, schema["enum"]))
    if "const" in schema:
        return _as_yaml(schema["const"])
    kind = schema.get("type", "any value")
    if kind == "array":
        entry = type_text(schema.get("items", {}), definitions, links)
        kind = f"list of ({entry})" if ", " in entry else f"list of {entry}"
    elif kind == "object":
        return "mapping"
    elif schema.get("format") in ("path", "file-path", "directory-path"):
        kind = "path"
    bounds = (words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema)
    return ", ".join(dict.fromkeys([kind, *bounds]))


def _as_yaml(value: Any) -> str:
    """Return a value as YAML writes it: None as `null`, and strings that YAML would misread in quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if value in ("", "null", "true", "false") else str(value)
