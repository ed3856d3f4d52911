"""Checks of measures' parameters and data that the packages which compute them lack, or make too late."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_GDEVAL_GRADE = 4


def check_parameters(name: str, measure: Any) -> None:
    """Check that a measure's parameters are known, of the right type, in range and complete.

    Args:
        name: the measure as the user wrote it, for the error message.
        measure: the parsed measure.

    Raises:
        InputError: a parameter is unknown, missing or of another type, or `cutoff` or `rel` is below 1.
    """
    supported = measure.SUPPORTED_PARAMS
    for key, value in measure.params.items():
        if key not in supported:
            takes = ", ".join(supported) or "none"
            raise InputError(f"the measure {name!r} has no parameter {key!r}; it takes {takes}")
        kind = supported[key].dtype
        if kind is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            example = {int: "a whole number such as 2", float: "a number such as 2.0"}.get(
                kind, kind.__name__
            )
            raise InputError(f"the measure {name!r}: {key} must be {example}, not {value!r}")
        if key in ("cutoff", "rel") and value < 1:
            raise InputError(f"the measure {name!r}: {key} must be 1 or more, not {value!r}")
    for key, info in supported.items():
        if info.required and key not in measure.params:
            cut = "0.1" if key == "recall" else "10"
            example = f"{measure.NAME}@{cut}" if key == measure.AT_PARAM else f"{measure.NAME}({key}=...)"
            raise InputError(f"the measure {name!r} needs the parameter {key}: write it like {example}")


def check_gdeval(measures: Mapping[str, Any], qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Check that gdeval.pl, which computes ERR and nDCG with exponential gains, can read the judgements.

    gdeval.pl stops at a query id that is not a number and at grades above 4. It also cuts ids after their
    last hyphen, so that `q-1` and `2020-1` both become query 1.

    Args:
        measures: measure by name; those that gdeval.pl does not compute are skipped.
        qrels: grade by doc id by query id.

    Raises:
        InputError: a query id is not a number, or a grade is above 4.
    """
    for name, measure in measures.items():
        if measure.NAME != "ERR" and measure.params.get("dcg") != "exp-log2":
            continue
        for query_id, grades in qrels.items():
            if not re.fullmatch("[0-9]+", query_id):
                reason = f"numbers as query ids, and {query_id!r} is not one"
                raise InputError(f"the measure {name!r} cannot be computed here: gdeval.pl reads {reason}")
            if max(grades.values(), default=0) > _GDEVAL_GRADE:
                reason = f"grades up to {_GDEVAL_GRADE}, and query {query_id!r} has a higher one"
                raise InputError(f"the measure {name!r} cannot be computed here: gdeval.pl reads {reason}")
