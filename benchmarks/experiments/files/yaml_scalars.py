"""Refuses unquoted YAML values that YAML 1.1 reads otherwise than people do.

PyYAML follows YAML 1.1: `1:30` is the number 90 (base 60), `010` is 8 (octal), `no` is a boolean and
`2024-05-01` a date. A number or a name that is silently another one changes what an experiment measures.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

Location = tuple[str | int, ...]
"""The keys and positions that lead to a value."""

_MOST_VALUES = 100_000
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(_\d{3})+(\.\d*)?")  # 60_000, which everybody reads alike


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


def checked_values(node: yaml.Node | None) -> Iterator[tuple[Location, int, str | None]]:
    """Yield location and line of every value below a YAML node, and what is wrong with it or None.

    Wrong are values that YAML 1.1 misreads, keys given twice, zero bytes, and more values than fit in memory,
    which aliases of aliases can stand for.
    """
    for count, (location, line, reason) in enumerate(() if node is None else _values(node, ())):
        if count >= _MOST_VALUES:
            reason = "its aliases stand for too much; write it out"
        yield location, line, reason


def _values(node: yaml.Node, location: Location) -> Iterator[tuple[Location, int, str | None]]:
    """Yield the location and line of every value below a YAML node, and what is wrong with it."""
    line = node.start_mark.line + 1
    has_zero = isinstance(node, yaml.ScalarNode) and "\0" in node.value
    yield location, line, "holds a zero byte, as no name or path may" if has_zero else surprise(node)
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            is_second = f"{name!r} is given twice; keep one" if name in names else None
            names.add(name)
            yield (*location, name), line, is_second or surprise(key)
            yield from _values(value, (*location, name))
            yield (*location, name), line, None  # the key's own line, where its value may begin on the next
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _values(item, (*location, index))
