"""Refuses unquoted YAML values that YAML 1.1 reads otherwise than people do.

PyYAML follows YAML 1.1: `1:30` is the number 90 (base 60), `010` is 8 (octal), `no` is a boolean and
`2024-05-01` a date. A number or a name that is silently another one changes what an experiment measures.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

_THOUSANDS = re.compile(r"[-+]?\d{1,3}(_\d{3})+(\.\d*)?")  # 60_000, which everybody reads alike


class SurprisingValueError(ValueError):
    """Raised for a value that YAML 1.1 reads otherwise than people do."""


def surprise(node: yaml.Node) -> str | None:
    """Return an error message for an unquoted scalar that YAML 1.1 misreads; None for all others."""
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return None
    text, kind = node.value, node.tag.rpartition(":")[2]
    if kind == "timestamp":
        return f"{text} is read as a date. Quote it."
    if kind == "bool" and text.lower() not in ("true", "false"):
        meaning = "true" if yaml.safe_load(text) else "false"
        return f"{text} is read as {meaning}. Write {meaning}, or quote it."
    digits = text.lstrip("+-")
    is_odd = (
        ":" in text
        or ("_" in text and not _THOUSANDS.fullmatch(text))
        or bool(re.match(r"0[0-7_]|0b", digits) and kind == "int")
    )
    if kind in ("int", "float") and is_odd:
        return f"{text} is read as {yaml.safe_load(text)!r}. Write that number, or quote the text."
    return None


def safe_value(text: str) -> Any:
    """Parse a line of YAML and return its value.

    Raises:
        SurprisingValueError: a part of it is read otherwise than people do, or a key is given twice.
    """
    loader = yaml.SafeLoader(text)
    node = loader.get_single_node()
    if node is None:
        return None
    for reason in _reasons(node, set()):
        raise SurprisingValueError(reason)
    return loader.construct_document(node)


def _reasons(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """Yield an error message for each misread scalar and duplicate key in a YAML node and below it."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    reason = surprise(node)
    if reason:
        yield reason
    if isinstance(node, yaml.MappingNode):
        names = [str(key.value) for key, _ in node.value]
        yield from (f"{name!r} is given twice; keep one" for name in names if names.count(name) > 1)
        for pair in node.value:
            for part in pair:
                yield from _reasons(part, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _reasons(item, seen)
