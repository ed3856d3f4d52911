"""A reader of judgements and runs in one JSON object, as ranx and pytrec_eval write them.

{"q1": {"d1": 1, "d2": 0}, "q2": {"d3": 2}}
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def is_start(line: str) -> bool:
    """Return whether a file's first line begins one JSON object of objects, rather than JSON lines."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return True  # written over several lines, or broken
    return isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values())


def values(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[None, str, str, str]]:
    """Yield (None, query id, doc id, value as written) of each value; None stands for the line number.

    Raises:
        InputError: the file is not an object of objects, or an id or a value cannot be read.
    """
    text = "\n".join(line for _, line in lines)
    try:
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=str)
    except (ValueError, RecursionError) as error:
        reason = f"broken JSON ({error}); write one object of query ids, each with its doc ids"
        raise InputError.at(path, None, reason) from error
    for query_id, inner in content.items():
        if not isinstance(inner, dict):
            reason = f"query {query_id!r} has {type(inner).__name__} in place of an object of doc ids"
            raise InputError.at(path, None, f"{reason}; correct it")
        for doc_id, value in inner.items():
            for name in (query_id, doc_id):
                if name.split() != [name]:
                    reason = f"the id {name!r} is empty or has white space; rename it"
                    raise InputError.at(path, None, reason)
            yield None, query_id, doc_id, value if isinstance(value, str) else json.dumps(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dictionary.

    Raises:
        ValueError: a key appears twice.
    """
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the id {key!r} appears a second time")
        values[key] = value
    return values


def _refuse(name: str) -> NoReturn:
    """Reject a constant such as NaN in JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")
