"""The cleaning of records' texts where they enter a report, so that no label breaks a table or chart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.results.record import Record
from rerankers.text.printable import printable, shortened

if TYPE_CHECKING:
    from benchmarks.results.store import Results

LONGEST = 200
"""Characters of a label, a name or another short text; charts take seconds for thousands."""

LONGEST_ERROR = 2000
_LONG = {"error", "notice"}


def cleaned(results: Results) -> Results:
    """Return a copy of the results whose records hold only printable texts of bounded length.

    Rankings and passages' texts are not changed.
    """
    return replace(results, cells=[replace(cell, record=_record(cell.record)) for cell in results.cells])


def _record(record: Record) -> Record:
    """Return a record with all its texts cleaned; the same object if nothing changes."""
    values = record.model_dump()
    clean = _value(values, "")
    return record if clean == values else Record.model_validate(clean)


def _value(value: Any, name: str) -> Any:
    """Clean the texts inside a value of any JSON type, and cut them to 200 characters, or 2000 for an error.

    Args:
        value: the value.
        name: its key, which decides how long it may be.
    """
    if isinstance(value, str):
        return shortened(printable(value), LONGEST_ERROR if name in _LONG else LONGEST)
    if isinstance(value, dict):
        return {printable(str(key)): _value(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_value(item, name) for item in value)
    return value
