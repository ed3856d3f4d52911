"""Generates Markdown tables of a settings model's keys: type with bounds, default and meaning.

Types are read from the model's JSON schema, meanings from its docstring.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from rerankers.option_docs import type_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def key_table(model: type[BaseModel], links: Mapping[type[BaseModel], str]) -> Iterator[str]:
    """Yield the lines of a Markdown table with one row per field of a model.

    Args:
        model: the settings model.
        links: the heading of each model that has a table on the page, for links.
    """
    meanings = meanings_of(model)
    schema = model.model_json_schema()
    linked = {other.__name__: f"[{other.__name__}](#{anchor(links[other])})" for other in links}
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        described = schema["properties"][name]
        default = field.get_default(call_default_factory=True)
        is_needed = default is PydanticUndefined
        cells = (
            f"`{name}`",
            type_text(described, schema.get("$defs", {}), linked),
            "**needed**" if is_needed else _default(default),
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


def _default(value: Any) -> str:
    """Return a field's default value as Markdown code; empty for None."""
    if value is None:
        return ""
    if isinstance(value, BaseModel):
        return "its defaults"
    text = repr(value) if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"
