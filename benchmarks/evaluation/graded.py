"""The field's commonest measures, computed by array arithmetic over many rankings of the same judged queries.

A report evaluates hundreds of systems on thousands of queries. ir_measures takes a run query by query through
dictionaries, which is most of such a report's time; here the rankings of a system are one array of grades.
The sums run in the order in which trec_eval adds, so that the values are ir_measures' own to the last digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PLAIN = {  # measures, and the parameters under which they are the ones written down here
    "nDCG": {"cutoff"},
    "AP": {"cutoff", "rel"},
    "RR": {"cutoff", "rel"},
    "P": {"cutoff", "rel"},
    "R": {"cutoff", "rel"},
    "Judged": {"cutoff"},
}


def is_plain(measure: Any) -> bool:
    """Return whether this module computes an ir_measures measure, with the parameters that it has."""
    return set(measure.params) <= _PLAIN.get(measure.NAME, set()) and measure.NAME in _PLAIN


class JudgedQueries:
    """The judgements of a set of queries, prepared for computing measures of many systems.

    What depends on the judgements alone (the ideal ranking of each query) is computed once.

    Args:
        qrels: grade by doc id by query id.
    """

    def __init__(self, qrels: Mapping[str, Mapping[str, int]]) -> None:
        self._qrels = qrels
        grades = [grade for by_id in qrels.values() for grade in by_id.values()]
        gains = _padded([len(by_id) for by_id in qrels.values()], grades, 0.0).clip(min=0.0)
        self._ideal = -np.sort(-gains, axis=1)

    def grades(self, rankings: Mapping[str, Sequence[str]]) -> tuple[Floats, NDArray[np.int64]]:
        """Look up the grade of every ranked passage, and count the passages of each ranking.

        Args:
            rankings: doc ids by query id, best first; a missing query is an empty ranking.

        Returns:
            grades, (n_queries, longest ranking), nan for unjudged passages and for padding; and lengths of
            the rankings, (n_queries,). Both follow the order of the judgements.
        """
        lengths: list[int] = []
        grades: list[int | None] = []
        for query_id, by_id in self._qrels.items():
            doc_ids = rankings.get(query_id, ())
            lengths.append(len(doc_ids))
            grades.extend(map(by_id.get, doc_ids))
        return _padded(lengths, grades, np.nan), np.array(lengths, dtype=np.int64)

    def ideal(self, depth: int) -> Floats:
        """Return each query's `depth` highest grades, best first and filled up with 0, (n_queries, depth)."""
        missing = max(0, depth - self._ideal.shape[1])
        return np.pad(self._ideal, ((0, 0), (0, missing)))[:, :depth]

    def values(self, measure: Any, grades: Floats, lengths: NDArray[np.int64]) -> Floats:
        """Compute one measure for each query, (n_queries,); 0 for an empty ranking.

        Args:
            measure: an ir_measures measure that `is_plain` accepts.
            grades: grades by rank, as `grades` returns them.
            lengths: number of passages of each ranking.
        """
        cutoff = measure.params.get("cutoff")
        grades = grades[:, :cutoff]
        if measure.NAME == "Judged":
            return _divided((~np.isnan(grades)).sum(axis=1), np.minimum(lengths, cutoff or lengths.max()))
        if measure.NAME == "nDCG":
            return _divided(_discounted(grades), _discounted(self._ideal[:, :cutoff]))
        level = measure.params.get("rel", 1)
        hits = grades >= level  # nan is not
        ranks = np.arange(1, grades.shape[1] + 1)
        if measure.NAME == "P":
            return _divided(hits.sum(axis=1), np.full(len(hits), cutoff))
        if measure.NAME == "RR":
            return np.where(hits.any(axis=1), 1.0 / (1 + hits.argmax(axis=1)), 0.0)
        relevant = (self._ideal >= level).sum(axis=1)
        if measure.NAME == "R":
            return _divided(hits.sum(axis=1), relevant)
        precisions = np.where(hits, hits.cumsum(axis=1) / ranks, 0.0)
        return _divided(_last(precisions), relevant)


def _padded(lengths: Sequence[int], values: Sequence[float | None], fill: float) -> Floats:
    """Split a flat list of values into rows of the given lengths, and fill each up with `fill` on the right.

    Return (number of rows, longest row), with at least one column; None becomes nan.
    """
    matrix = np.full((len(lengths), max([1, *lengths])), fill)
    matrix[np.arange(matrix.shape[1]) < np.array(lengths, dtype=np.int64)[:, None]] = np.array(
        values, dtype=np.float64
    )
    return matrix


def _discounted(grades: Floats) -> Floats:
    """Return each row's discounted cumulative gain, (n_queries,); grades of 0 and less gain nothing."""
    gains = np.where(grades > 0, grades, 0.0)
    return _last(gains / np.log2(np.arange(2, grades.shape[1] + 2)))


def _last(terms: Floats) -> Floats:
    """Return the sum of each row, (n_queries,), added from left to right.

    numpy's own sum adds in pairs, which rounds differently.
    """
    sums: Floats = terms.cumsum(axis=1)[:, -1]
    return sums


def _divided(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """Return `above / below` element by element, and 0 where `below` is 0."""
    quotients: Floats = np.divide(above, below, out=np.zeros(len(above)), where=below > 0)
    return quotients
