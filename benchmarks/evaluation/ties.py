"""The order in which trec_eval reads a run's scores, which candidate sets and imported runs follow.

trec_eval (`form_res_rels.c`) ignores the rank column, keeps scores in 32 bits, and puts equal scores in
descending order of document id. Published figures are values of that order, so a run file has one value here,
whether its order is a first stage's or an imported system's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LARGEST_SCORE = float(np.finfo(np.float32).max)
"""The largest score, positive or negative, that 32 bits hold."""


def trec_eval_places(doc_ids: Sequence[str], scores: Sequence[float]) -> list[int]:
    """Return the positions of passages in trec_eval's order.

    The order is by 32-bit score, highest first, then by document id, descending.
    """
    rounded = np.array(scores, dtype=np.float32).tolist()
    return sorted(range(len(rounded)), key=lambda place: (rounded[place], doc_ids[place]), reverse=True)


def trec_eval_order(hits: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Sort (doc id, score) pairs as trec_eval does: by 32-bit score, then doc id, both descending."""
    pairs = list(hits)
    places = trec_eval_places([doc_id for doc_id, _ in pairs], [score for _, score in pairs])
    return [pairs[place] for place in places]


def count_ties(hits: Iterable[tuple[str, float]]) -> int:
    """Count a query's passages whose 32-bit score another of its passages shares."""
    scores = np.array([score for _, score in hits], dtype=np.float32)
    _, counts = np.unique(scores, return_counts=True)
    return int(counts[counts > 1].sum())
