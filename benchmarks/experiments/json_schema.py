"""Generates the JSON Schema of experiment files, with which editors complete keys and check values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.datasets.specs import Columns
from benchmarks.experiments.config import Experiment
from benchmarks.experiments.dataset_entries import DatasetEntry
from benchmarks.experiments.key_tables import meanings_of
from benchmarks.experiments.loads import ProtocolSpec, ServedSpec
from benchmarks.experiments.suites import SuiteSpec
from benchmarks.first_stages.specs import Bm25, Dense, Given, Hybrid, Named, PyTerrier, Run, ScoredDocs
from rerankers.option_docs import options_schema
from rerankers.registry import METHODS, options_model

if TYPE_CHECKING:
    from pydantic import BaseModel

MODELS = (
    DatasetEntry,
    Columns,
    SuiteSpec,
    Bm25,
    Dense,
    Run,
    PyTerrier,
    Named,
    Given,
    ScoredDocs,
    Hybrid,
    ProtocolSpec,
    ServedSpec,
)


def experiment_schema() -> dict[str, Any]:
    """Return the JSON Schema of experiment files, with every registered reranker's options.

    Where a list is accepted, so is a single value; a list in place of an option's value is a sweep. A
    `module:Class` of the user's own is accepted with any options.
    """
    schema = Experiment.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    definitions = schema["$defs"]
    properties = schema["properties"]
    _describe(properties, Experiment)
    for model in MODELS:
        _describe(definitions[model.__name__]["properties"], model)
    for key in ("datasets", "first_stages", "depths", "measures"):
        properties[key] = _or_list(properties[key])
    definitions["RerankerSpec"] = {
        "anyOf": [*(_reranker(name, definitions) for name in METHODS), _own_reranker()]
    }
    names = {"type": "string", "anyOf": [{"enum": list(METHODS)}, {"pattern": ":"}]}
    properties["rerankers"]["items"] = {"anyOf": [names, {"$ref": "#/$defs/RerankerSpec"}]}
    properties["rerankers"] = _or_list(properties["rerankers"])
    _string_or_mapping(properties, definitions)
    return schema


def _reranker(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a `rerankers` entry with this name; add its nested models to `definitions`."""
    options = options_schema(name)
    definitions |= options.pop("$defs", {})
    levels = {
        key: {
            "type": "array",
            "items": {part: value for part, value in option.items() if part != "description"},
        }
        for key, option in options["properties"].items()
    }
    vary = {**_VARY, "properties": levels, "additionalProperties": False}
    for key, option in options["properties"].items():
        description = option.pop("description", None)
        options["properties"][key] = {"anyOf": [option, {"type": "array", "items": option}]}
        if description:
            options["properties"][key]["description"] = description
    required = ["name", "options"] if options.get("required") else ["name"]
    return {
        "type": "object",
        "title": name,
        "description": options_model(name).summary,
        "properties": {"name": {"const": name}, "label": _LABEL, "options": options, "vary": vary},
        "required": required,
        "additionalProperties": False,
    }


def _own_reranker() -> dict[str, Any]:
    """Return the schema of a `rerankers` entry whose name is `module:Class`."""
    return {
        "type": "object",
        "title": "module:Class",
        "description": "a reranker of your own",
        "properties": {
            "name": {"type": "string", "pattern": ":"},
            "label": _LABEL,
            "options": {"type": "object"},
            "vary": {**_VARY, "additionalProperties": {"type": "array"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    }


_LABEL = {
    "type": ["string", "null"],
    "description": "what tables call it; {option} stands for the option's value",
}


_VARY = {
    "type": "object",
    "description": "levels by option, one factor at a time: a system for each level that the base has not",
}


def _describe(properties: dict[str, Any], model: type[BaseModel]) -> None:
    """Set the `description` of each property from the model's documented fields."""
    for name, meaning in meanings_of(model).items():
        if name in properties:
            properties[name]["description"] = " ".join(meaning.split())


def _or_list(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an array's schema extended to accept a single item too."""
    outer = {key: value for key, value in schema.items() if key in ("default", "description", "title")}
    inner = {key: value for key, value in schema.items() if key not in outer}
    return {"anyOf": [inner, inner["items"]], **outer}


def _string_or_mapping(properties: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Extend the schemas of datasets, first stages and hybrid parts in place to accept a plain name."""
    for key in ("datasets", "first_stages"):
        inner, item = properties[key]["anyOf"]
        inner["items"] = properties[key]["anyOf"][1] = {"anyOf": [{"type": "string"}, item]}
    parts = definitions["Hybrid"]["properties"]["parts"]
    parts["items"] = {"anyOf": [{"type": "string"}, parts["items"]]}
