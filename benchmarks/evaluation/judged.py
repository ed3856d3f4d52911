"""A check that the candidates and the judgements of a candidate set name the same passages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.candidates.frozen import Pool

_EXAMPLES = 2


def unjudged_warning(pool: Pool) -> str | None:
    """Return a warning if no candidate of any judged query is judged, else None.

    The warning quotes up to two candidate ids and two judged ids. The usual cause is that the judgements
    belong to another collection or spell its ids differently, so that every measure is 0.
    """
    candidates: list[str] = []
    for query_id, grades in pool.qrels.items():
        for candidate in pool.candidates[query_id]:
            if candidate.doc_id in grades:
                return None
            if len(candidates) < _EXAMPLES and candidate.doc_id not in candidates:
                candidates.append(candidate.doc_id)
    if not candidates:
        return None
    judged = list(dict.fromkeys(doc_id for grades in pool.qrels.values() for doc_id in grades))[:_EXAMPLES]
    return (
        f"Not one candidate is judged: candidates are {_listed(candidates)}, judged passages "
        f"{_listed(judged)}. Every measure is 0; check that the judgements are of this collection."
    )


def _listed(doc_ids: Iterable[str]) -> str:
    """Return doc ids in quotes, joined by "and"."""
    return " and ".join(repr(doc_id) for doc_id in doc_ids)
