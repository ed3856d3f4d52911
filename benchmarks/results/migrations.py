"""Migrations of records from older schemas to the present one: one function a version.

Nothing is invented: what an older version did not note stays unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.results.record import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

Raw = dict[str, Any]


def migrate(raw: Raw) -> Raw:
    """Return the values of `record.json` in the present schema;
    a version that is not known comes back as it is.
    """
    while raw["schema_version"] in _MIGRATIONS:
        raw = _MIGRATIONS[raw["schema_version"]](raw)
    return raw


def _from_1(raw: Raw) -> Raw:
    """Version 2 notes how the warm-up ended; until then it was always a fixed number of queries."""
    sessions = [
        {**session, "warmup_ended": "fixed" if session.get("warmup_seconds") else None}
        for session in raw.get("sessions", [])
    ]
    return {**raw, "schema_version": 2, "sessions": sessions}


def _from_2(raw: Raw) -> Raw:
    """Version 3 seals finished cells; of older ones nothing is known, so nothing is checked."""
    return {**raw, "schema_version": 3, "seal": {} if raw.get("status") == "done" else None}


_MIGRATIONS: dict[object, Callable[[Raw], Raw]] = {1: _from_1, 2: _from_2}

assert set(_MIGRATIONS) == set(range(1, SCHEMA_VERSION)), "each older version needs its migration"  # noqa: S101
