"""Parses the scores in the response of a rerank endpoint, in every spelling that servers use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from rerankers.endpoints.error_body import error_message
from rerankers.endpoints.exchange import read_count
from rerankers.endpoints.failures import UnusableResponseError
from rerankers.text.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.interface import Usage

_INDEX = ("index", "document_index")
_SCORE = ("relevance_score", "score")
_LARGEST_SCORE = 3.4e38  # of float32, in which rankings are kept
_MOST_FIELDS = 12  # that an error names
_Read = TypeVar("_Read")


def read_scores(response: Any, path: str | None, field: str, passages: int, usage: Usage) -> dict[int, float]:
    """Return the score of each passage in a response, by the passage's number in the request, from 0.

    A result that is unreadable, repeated or of no passage sent is left out and counted as a fault.

    Args:
        response: as decoded from JSON.
        path: the field that holds the results; None where the response is their list.
        field: the field of a result that holds its score.
        passages: how many were sent.
        usage: takes the faults.

    Raises:
        UnusableResponseError: no result has both a passage's index and a score.
    """
    scores: dict[int, float] = {}
    results = _results(response, path)
    for result in results:
        index = _first(result, _INDEX, _whole)
        score = _first(result, (field, *_SCORE), _number)
        if index is None or score is None:
            usage.fault("malformed")
        elif not 0 <= index < passages:
            usage.fault("out_of_range")
        elif index in scores:
            usage.fault("duplicate")
        else:
            scores[index] = score
    if passages and not scores:
        raise UnusableResponseError(
            f"none of {len(results)} results has an index below {passages} and a score ({_seen(results)}); "
            "check api and base_url"
        )
    return scores


def tokens_reported(response: Any, path: Sequence[str] | None) -> int | None:
    """Return the token count at a path (field names) of a decoded response.

    None if it has none, or no number.
    """
    return read_count(_at(response, path)) or None if path else None


def _results(response: Any, path: str | None) -> list[Any]:
    """Return the list of results in a decoded response.

    Raises:
        UnusableResponseError: there is none.
    """
    results = response if path is None else _at(response, [path])
    if isinstance(results, list):
        return results
    message = error_message(response) if isinstance(response, dict) and response.get("error") else ""
    reason = excerpt(message, 200) or f"no results in {excerpt(response, 100)!r}"
    raise UnusableResponseError(f"{reason}; check api and base_url")


def _seen(results: list[Any]) -> str:
    """Return a short description of the first result, for an error message."""
    if not results or not isinstance(results[0], dict):
        return excerpt(results[0], 100) if results else "no results"
    fields = excerpt(", ".join(sorted(results[0])[:_MOST_FIELDS]), 200)
    return f"the first has the fields {fields}: {excerpt(results[0], 100)}"


def _at(value: Any, path: Sequence[str]) -> Any:
    """Return the value at a path of field names in a decoded JSON value; None if there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _first(result: Any, names: Sequence[str], read: Callable[[Any], _Read | None]) -> _Read | None:
    """Return the first value, among some fields of a result, that `read` accepts (not None).

    None without one.
    """
    if not isinstance(result, dict):
        return None
    values = (read(result.get(name)) for name in names)
    return next((value for value in values if value is not None), None)


def _number(value: Any) -> float | None:
    """Return a number, also one written as text, if it is finite in 32 bits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= _LARGEST_SCORE else None  # false of NaN


def _whole(value: Any) -> int | None:
    """Return a whole number given as 1, 1.0 or "1"; None for anything else."""
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None
