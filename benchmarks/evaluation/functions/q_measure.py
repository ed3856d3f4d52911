"""Q-measure: average precision with graded relevance (Sakai, "On the reliability of information retrieval
metrics based on graded relevance", Information Processing and Management 43(2), 2007), with beta = 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def q_measure(doc_ids: Sequence[str], grades: Mapping[str, int]) -> float:
    """Compute the Q-measure of one query, 0 to 1: the mean blended ratio over its relevant passages.

    At each rank of a relevant passage, the blended ratio is (relevant so far + gain so far) / (rank + gain so
    far of the ideal ranking). Gains are the grades; grades below 1 gain nothing. Return 0.0 for a query
    without relevant passages.

    Args:
        doc_ids: the ranking, best first.
        grades: grade by doc id.
    """
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    if not ideal:
        return 0.0
    relevant = gain = ideal_gain = 0
    ratios = 0.0
    for rank, doc_id in enumerate(doc_ids, 1):
        ideal_gain += ideal[rank - 1] if rank <= len(ideal) else 0
        grade = grades.get(doc_id, 0)
        if grade > 0:
            relevant, gain = relevant + 1, gain + grade
            ratios += (relevant + gain) / (rank + ideal_gain)
    return ratios / len(ideal)
