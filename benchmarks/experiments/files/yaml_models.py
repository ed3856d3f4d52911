"""Reads settings files into pydantic models: relative paths resolved, and errors with file and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.experiments.files.marked_yaml import MarkedYaml
from rerankers.errors import InputError, UnknownNameError
from rerankers.files.paths import STANDARD_INPUT, existing_path, user_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel, ValidationError

    from benchmarks.experiments.files.yaml_scalars import Location

_NAMES = {"id", "name", "kind", "label"}  # strings that are never paths
_BY_NAME = "judgements"  # whose values stand under names of the user's own
_PATHS = {"folder", "candidates", "qrels", "path", "recording", _BY_NAME}  # strings that always are
_FILES = {"documents", "queries"}  # strings that are, if they have a suffix: `queries: all` names a source

_RESERVED = {_BY_NAME: "own"}  # words that are no paths; elsewhere `bundled` is one

_SECRET = re.compile(r"://[^/?#\s]*@|[?&][^=&#\s]*(?:key|token|secret|password)[^=&#\s]*=", re.IGNORECASE)


def settings_file(name: str, ready: Path, kind: str) -> Path:
    """Return the path of a settings file, given its path or the name of a ready one in the folder `ready`.

    `-` is standard input. `kind` names the kind of file in errors.

    Raises:
        InputError: there is neither; the message lists the ready ones.
    """
    if name == "-":
        return STANDARD_INPUT
    path = existing_path(name)
    if path is not None and not path.is_dir():
        return path
    if (ready / f"{name}.yaml").is_file():
        return ready / f"{name}.yaml"
    names = ", ".join(sorted(path.stem for path in ready.glob("*.yaml")))
    raise InputError(f"{name}: no such file, and no ready {kind} of that name; ready are {names}")


def folder_of(path: Path) -> Path:
    """Return the folder that relative paths in a settings file start from; for a pipe, the working folder."""
    return path.resolve().parent if path.is_file() else Path.cwd()


def opened(
    path: Path, overrides: Sequence[str], expected: str, text: str | None = None
) -> tuple[MarkedYaml, dict[str, Any]]:
    """Read a settings file and apply `key=value` assignments; return the file and its content.

    Args:
        path: the file.
        overrides: the assignments.
        expected: a description of the file for the error message, if it is not a mapping.
        text: YAML to read in place of the file.

    Raises:
        InputError: it cannot be read, is not a mapping, or holds a secret.
    """
    file = MarkedYaml(path, text)
    for assignment in overrides:
        file.override(assignment)
    if not isinstance(file.content, dict):
        raise InputError.at(path, 1, expected)
    for place in _secrets(file.content, ()):
        reason = (
            "this address holds a password or a key, which results would repeat; take it out, and set the"
        )
        raise file.error(place, f"{reason} endpoint's key (or OPENAI_BASE_URL) in the environment")
    return file, file.content


def _secrets(value: Any, location: Location) -> Iterator[Location]:
    """Yield the locations of URLs with a password or a key in them."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _secrets(item, (*location, key))
    elif isinstance(value, str) and _SECRET.search(value):
        yield location


def located(value: Any, base: Path, key: str) -> Any:
    """Return settings with each path, relative to `base`, replaced by the same path from the working folder.

    A string is a path if its key is one for paths, if it starts with `./` or `../`, or if it exists in
    `base`.

    Args:
        value: the settings, nested in mappings and lists.
        base: the folder that relative paths start from.
        key: the key of `value`.
    """
    if isinstance(value, dict):
        is_by_name = key == _BY_NAME
        return {name: located(item, base, key if is_by_name else str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [located(item, base, key) for item in value]
    if not isinstance(value, str) or not value or key in _NAMES or value == _RESERVED.get(key, "bundled"):
        return value
    name = value if value.startswith("~") else str(base / value)
    is_file = key in _FILES and "." in value
    if key in _PATHS or is_file or value.startswith(("./", "../")) or existing_path(name):
        path, here = user_path(name), Path.cwd()
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
    return value


def explained(file: MarkedYaml, error: ValidationError, model: type[BaseModel]) -> InputError:
    """Convert a validation error to an InputError with file and line; an unknown key gets a near miss."""
    # A misspelt key is missing and unknown at once; the misspelling is what has to be said.
    first = min(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    location: Location = first["loc"]
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        keys = _known_keys(model, location[:-1])
        return file.error(location, str(UnknownNameError("key", str(location[-1]), keys)))
    if first["type"] == "union_tag_invalid":
        tags = [tag.strip(" '") for tag in first["ctx"]["expected_tags"].split(",")]
        return file.error(location, str(UnknownNameError("kind", first["ctx"]["tag"], tags)))
    if first["type"] == "missing":
        return file.error(location, f"the key {location[-1]!r} is missing; add it")
    value = "" if isinstance(first["input"], dict | list) else f", got {first['input']!r}"
    where = ".".join(str(part) for part in location)
    return file.error(location, f"{where}: {reason}{value}")


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys that a model allows at a location, sorted; read from its JSON schema."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})

    def branches(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "$ref" in node:
            yield from branches(definitions[node["$ref"].rpartition("/")[2]])
        for branch in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            yield from branches(branch)
        if "properties" in node or "items" in node:
            yield node

    nodes = [schema]
    for part in location:
        children: list[dict[str, Any]] = []
        for node in nodes:
            if isinstance(part, int) and "items" in node:
                children += branches(node["items"])
            elif part in node.get("properties", {}):
                children += branches(node["properties"][part])
            elif node.get("properties", {}).get("kind", {}).get("const") == part:
                children.append(node)  # a union's tag
        nodes = children or nodes
    return sorted({name for node in nodes for name in node.get("properties", {})})
