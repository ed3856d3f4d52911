"""What the query explorer of the page shows, one group at a time, packed small.

A ranking is written as positions in the first stage's order, so that how far a passage moved is a subtraction
in the page. Large groups keep fewer ranks, then fewer passage texts: those of the queries on which systems
differ most stay. The packed form is gzip in base64; the page unpacks a group when a reader opens it.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.values import Group, SystemResult

RANKS = (20, 10)
"""Ranks shown per system: the first of these that keeps a group within `POSITIONS`."""

POSITIONS = 400_000
TEXT_BUDGET = 6_000_000
"""Characters of passage text that one page carries, about 2 MB packed."""


def payload(group: Group, text_budget: int) -> dict[str, Any]:
    """The explorer's data for one group, JSON values only."""
    systems = [system for system in group.systems if system.status == "done"]
    ranks = next(
        (count for count in RANKS if count * len(systems) * len(group.pool.queries) <= POSITIONS), RANKS[-1]
    )
    queries = [_query(query_id, group, systems, ranks) for query_id in group.pool.queries]
    _add_texts(queries, group, systems, text_budget)
    return {
        "measure": group.headline if group.pool.qrels else None,
        "baseline": group.baseline,
        "ranks": ranks,
        "systems": [system.label for system in systems],
        "queries": queries,
    }


def pack(value: object) -> str:
    """Gzip of the JSON, in base64; equal values give equal text."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _query(query_id: str, group: Group, systems: Sequence[SystemResult], ranks: int) -> dict[str, Any]:
    candidates = group.pool.candidates[query_id]
    position = {candidate.doc_id: index for index, candidate in enumerate(candidates)}
    grades = group.pool.qrels.get(query_id, {})
    tops = [[position[doc_id] for doc_id, _ in s.rankings.get(query_id, ())[:ranks]] for s in systems]
    shown = sorted({index for top in tops for index in top})
    return {
        "id": query_id,
        "text": group.pool.queries[query_id],
        "values": [_rounded(s.per_query.get(group.headline, {}).get(query_id), 4) for s in systems],
        "ms": [_rounded(_milliseconds(s.query_seconds.get(query_id)), 3) for s in systems],
        "tops": tops,
        "docs": {
            str(index): [candidates[index].doc_id, grades.get(candidates[index].doc_id)] for index in shown
        },
        "candidates": len(candidates),
        "relevant": sum(grade > 0 for grade in grades.values()),
    }


def _add_texts(
    queries: Sequence[dict[str, Any]], group: Group, systems: Sequence[SystemResult], budget: int
) -> None:
    """Put passage texts in, queries with the widest spread of values first, until the budget is spent."""

    def spread(query: dict[str, Any]) -> float:
        values = [value for value in query["values"] if value is not None]
        return max(values) - min(values) if values else 0.0

    for query in sorted(queries, key=spread, reverse=True):
        candidates = group.pool.candidates[query["id"]]
        texts = {index: candidates[int(index)].text for index in query["docs"]}
        budget -= sum(map(len, texts.values()))
        if budget < 0:
            return
        for index, text in texts.items():
            query["docs"][index].append(text)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
