"""What the query explorer of the page shows, one group at a time, packed small.

A ranking is written as first-stage ranks, one character each, so that how far a passage moved is a
subtraction in the page. Large reports keep fewer ranks, then fewer passage texts: those of the queries on
which systems differ most stay. The packed form is gzip in base64; the page unpacks a group when a reader
opens it.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

from reports import quality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.values import Group, SystemResult

RANKS = (quality.TOP, 10, 5)
"""Ranks shown per system: the first of these that keeps a page within `POSITIONS`, or else the last."""

POSITIONS = 1_500_000
TEXT_BUDGET = 2_400_000
"""Characters of passage text that one page carries, about 1.2 MB packed."""

ZERO = 35  # "#": from here on come characters that JSON need not escape, but for one


def payloads(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """The explorer's data by group key, JSON values only; the groups share a page's budgets evenly."""
    positions = sum(len(_done(group)) * len(group.pool.queries) for group in groups)
    ranks = next((count for count in RANKS if count * positions <= POSITIONS), RANKS[-1])
    budget = TEXT_BUDGET // max(1, len(groups))
    return {group.key: payload(group, ranks, budget) for group in groups}


def payload(group: Group, ranks: int, text_budget: int) -> dict[str, Any]:
    """One group's data: so many ranks per system, and at most so many characters of passages."""
    systems = _done(group)
    queries = [_query(query_id, group, systems, ranks) for query_id in group.pool.queries]
    _add_texts(queries, group, systems, text_budget)
    return {
        "measure": group.headline if group.pool.qrels else None,
        "baseline": group.baseline,
        "zero": ZERO,
        "systems": [system.label for system in systems],
        "queries": queries,
    }


def _done(group: Group) -> list[SystemResult]:
    return [system for system in group.systems if system.status == "done"]


def pack(value: object) -> str:
    """Gzip of the JSON, in base64; equal values give equal text."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()


def _query(query_id: str, group: Group, systems: Sequence[SystemResult], ranks: int) -> dict[str, Any]:
    candidates = group.pool.candidates[query_id]
    grades = group.pool.qrels.get(query_id, {})
    tops = [s.tops.get(query_id, ())[:ranks] for s in systems]
    shown = sorted({index for top in tops for index in top})
    return {
        "id": query_id,
        "text": group.pool.queries[query_id],
        "values": [_rounded(s.per_query.get(group.headline, {}).get(query_id)) for s in systems],
        "ms": [_milliseconds(s.query_seconds.get(query_id)) for s in systems],
        "tops": ["".join(chr(ZERO + rank) for rank in top) for top in tops],
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
    return None if seconds is None else float(f"{1e3 * seconds:.3g}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
