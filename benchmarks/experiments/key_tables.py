"""Generates Markdown tables of a settings model's keys: type, default, bounds and meaning.

Types and bounds are read from the model's JSON schema, meanings from its docstring.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BOUNDS = {
    "minimum": "from {}",
    "ge": "from {}",
    "exclusiveMinimum": "above {}",
    "gt": "above {}",
    "maximum": "to {}",
    "le": "to {}",
    "exclusiveMaximum": "below {}",
    "lt": "below {}",
    "minLength": "at least {} characters",
    "minItems": "at least {} entries",
}
"""Words for the bounds in a JSON schema; pydantic writes those behind a validator by its own names."""

_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def key_table(model: type[BaseModel], links: Mapping[type[BaseModel], str]) -> Iterator[str]:
    """Yield the lines of a Markdown table with one row per field of a model.

    Args:
        model: the settings model.
        links: the heading of each model that has a table on the page, for links.
    """
    meanings = meanings_of(model)
    properties = model.model_json_schema()["properties"]
    anchors = {linked.__name__: anchor(heading) for linked, heading in links.items()}
    yield "| key | type | default | bounds | meaning |\n|---|---|---|---|---|"
    for name, field in model.model_fields.items():
        described = properties[name]
        default = field.get_default(call_default_factory=True)
        is_needed = default is PydanticUndefined
        cells = (
            f"`{name}`",
            " or ".join(dict.fromkeys(_types(described, anchors))),
            "**needed**" if is_needed else _default(default),
            ", ".join(dict.fromkeys(_bounds(described))),
            meanings.get(name, "names this kind." if "const" in described else ""),
        )
        yield f"| {' | '.join(map(cell, cells))} |"
    yield ""


def meanings_of(model: type) -> dict[str, str]:
    """Return the description of each field of a model or dataclass, by name, inherited fields included.

    Descriptions are read from `Attributes:` in the docstrings, or from strings below the fields.
    """
    meanings: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base in (object, BaseModel):
            continue
        _, _, section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for names, meaning in re.findall(
            r"^    (\w+(?:, \w+)*): ((?:.|\n(?=        ))*)", section, re.MULTILINE
        ):
            meanings |= dict.fromkeys(names.split(", "), meaning)
        below = r'^    (\w+): [^\n]*\n    """((?:.|\n)*?)"""'
        meanings |= dict(re.findall(below, inspect.getsource(base), re.MULTILINE))
    return meanings


def summary_of(model: type[BaseModel]) -> str:
    """Return the first paragraph of a model's docstring on one line."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].split())


def nested_models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the models that occur in a model's field types, recursively, in order."""
    models: dict[type[BaseModel], None] = {}

    def visit(annotation: Any) -> None:
        is_model = inspect.isclass(annotation) and issubclass(annotation, BaseModel)
        if is_model and annotation not in models:
            models[annotation] = None
            for field in annotation.model_fields.values():
                visit(field.annotation)
        for argument in get_args(annotation):
            visit(argument)

    for field in model.model_fields.values():
        visit(field.annotation)
    return list(models)


def cell(text: str) -> str:
    """Return a text on one line with `|` escaped, for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def anchor(heading: str) -> str:
    """Return the anchor that a Markdown heading gets on its page."""
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


def _types(described: Mapping[str, Any], anchors: Mapping[str, str]) -> Iterator[str]:
    """Yield words or links for each type that a property's JSON schema accepts."""
    for branch in _branches(described):
        if "$ref" in branch:
            name = branch["$ref"].rpartition("/")[2]
            yield f"[{name}](#{anchors[name]})" if name in anchors else "mapping"
        elif "enum" in branch or "const" in branch:
            yield from (f"`{value}`" for value in branch.get("enum", [branch.get("const")]))
        elif branch.get("type") == "array":
            yield f"list of {' or '.join(_types(branch.get('items', {}), anchors))}"
        elif branch.get("type") == "object":
            yield "mapping"
        elif branch.get("type") == "string" and branch.get("format") == "path":
            yield "path"
        elif branch.get("type") != "null":
            yield _TYPES.get(branch.get("type", ""), "anything")


def _bounds(described: Mapping[str, Any]) -> Iterator[str]:
    """Yield words for each bound in a property's JSON schema, such as `from 1`."""
    for branch in _branches(described):
        for key, words in _BOUNDS.items():
            if key in branch and (key, branch[key]) != ("minLength", 1):
                yield words.format(branch[key])


def _branches(described: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the alternatives of a JSON schema, `anyOf` and `oneOf` expanded."""
    branches = [*described.get("anyOf", ()), *described.get("oneOf", ())]
    if not branches:
        yield described
    for branch in branches:
        yield from _branches(branch)


def _default(value: Any) -> str:
    """Return a field's default value as Markdown code; empty for None."""
    if value is None:
        return ""
    if isinstance(value, BaseModel):
        return "its defaults"
    text = repr(value) if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"
