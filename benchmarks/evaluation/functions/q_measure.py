"""Q-measure: average precision with graded relevance (Sakai, "On the reliability of information retrieval
metrics based on graded relevance", Information Processing and Management 43(2), 2007), with beta = 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def q_measure(doc_ids: Sequence[str], grades: Mapping[str, int]) -> float:
    """Return the mean blended ratio over relevant passages; gains are the grades, those below 1 are 0.

    At each rank of a relevant passage, the blended ratio is (relevant so far + gain so far) / (rank + gain so
    far of the ideal ranking). 0.0 for a query without relevant passages.
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
