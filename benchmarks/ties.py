"""The order in which trec_eval reads the scores of a run, which candidate sets and imported runs follow.

trec_eval (`form_res_rels.c`) ignores the rank column, keeps scores in 32 bits, and puts equal scores in
descending order of document id. Published figures are values of that order, so a run file has one value here,
whether its order is a first stage's or an imported system's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_SCORE = float(np.finfo(np.float32).max)
"""The largest score, positive or negative, that 32 bits hold."""


def trec_eval_order(hits: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Sort (doc id, score) pairs as trec_eval does: scores descending, equal ones by id descending."""
    pairs = list(hits)
    rounded = np.array([score for _, score in pairs], dtype=np.float32).tolist()
    order = sorted(range(len(pairs)), key=lambda place: (rounded[place], pairs[place][0]), reverse=True)
    return [pairs[place] for place in order]


def count_ties(hits: Iterable[tuple[str, float]]) -> int:
    """Return how many of a query's passages share their 32-bit score with another one."""
    scores = np.array([score for _, score in hits], dtype=np.float32)
    _, counts = np.unique(scores, return_counts=True)
    return int(counts[counts > 1].sum())
