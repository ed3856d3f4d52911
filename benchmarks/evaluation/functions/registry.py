"""The measures that are functions: registered ones, and `module:function` of the user's own.

To add a measure that ir_measures lacks, write its function in a file here and add its row. A
measure of one's own needs no row.
"""

from __future__ import annotations

import importlib
import inspect
import math
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from rerankers.errors import InputError
from rerankers.registry import is_own_name, own_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Qrels = Mapping[str, Mapping[str, int]]

MEASURES: dict[str, str] = {
    "Q": "benchmarks.evaluation.functions.q_measure:q_measure",
}
"""The function of each measure: a query's doc ids, best first, and its grades by doc id -> a float."""


@dataclass(frozen=True)
class FunctionMeasure:
    """A measure that a function computes query by query.

    Attributes:
        NAME: the measure's name, as users write it.
        function: takes a query's doc ids, best first, and its grades by doc id; returns the value.
        params: always empty; measures of ir_measures have parameters.
    """

    NAME: str
    function: Callable[[list[str], dict[str, int]], Any]
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def values(self, run: Mapping[str, Iterable[tuple[str, float]]], qrels: Qrels) -> dict[str, float]:
        """Compute the measure of each judged query, by query id; 0.0 for a query without a ranking.

        Args:
            run: (doc id, score) by query id; equal scores are ordered as trec_eval does, last id first.
            qrels: grade by doc id by query id.

        Raises:
            InputError: the function fails, or returns no finite number.
        """
        values = {}
        for query_id, grades in qrels.items():
            ranking = sorted(run.get(query_id, ()), key=lambda hit: (hit[1], hit[0]), reverse=True)
            doc_ids = [doc_id for doc_id, _ in ranking]
            values[query_id] = self._value(query_id, doc_ids, dict(grades)) if doc_ids else 0.0
        return values

    def _value(self, query_id: str, doc_ids: list[str], grades: dict[str, int]) -> float:
        """Call the function for one query and return its value as a float.

        Raises:
            InputError: the function fails, or returns no finite number.
        """
        try:
            value: Any = self.function(doc_ids, grades)
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".") or "no reason given"
            raise InputError(
                f"the measure {self.NAME!r}: query {query_id!r}: {type(error).__name__}: {reason}"
            ) from error
        if not isinstance(value, Real) or not math.isfinite(value):
            raise InputError(
                f"the measure {self.NAME!r}: query {query_id!r}: {value!r} is not a finite number"
            )
        return float(value)


def find(name: str) -> Any:
    """Return the measure that a registered name or `module:name` stands for; None for any other name.

    Returns:
        a `FunctionMeasure`, or the user's own object of ir_measures.

    Raises:
        InputError: there is no such module, or it has no measure of this name.
    """
    import ir_measures

    name = name.strip()
    if name in MEASURES:
        return FunctionMeasure(name, _registered(name))
    if not is_own_name(name):
        return None
    loaded = own_object(name, "measure")
    if isinstance(loaded, ir_measures.measures.Measure):
        return loaded
    if not inspect.isroutine(loaded):
        module, _, attribute = name.partition(":")
        raise InputError(
            f"{module} has no function or ir_measures object {attribute!r}. Define it, or correct the name"
        )
    return FunctionMeasure(name, loaded)


def summary_of_measure(name: str) -> str:
    """Return the first sentence of the docstring of a registered measure's module, up to a bracket."""
    module = inspect.getdoc(importlib.import_module(MEASURES[name].partition(":")[0])) or ""
    return " ".join(module.split()).partition(" (")[0]


def _registered(name: str) -> Any:
    """Import and return the function of a registered measure."""
    module, _, attribute = MEASURES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
