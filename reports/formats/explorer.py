"""The data of the page's query explorer, one group at a time, packed small.

Data are stored by column, one list per system, which gzip compresses better than rows. A ranking is
written as first-stage ranks, one character each, so that how far a passage moved is a subtraction in the
page. Numbers are kept as exactly as the page prints them. Large reports keep fewer ranks, then fewer document
ids, then fewer passage texts: those of the queries on which systems differ most stay. The packed form is gzip
in base64; the page unpacks a group when a reader comes near it.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

from reports.analysis import quality

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.candidates.frozen import Pool
    from reports.analysis.values import Group, SystemResult

RANKS = (quality.TOP, 10, 5)
"""Numbers of ranks per system: the first that keeps a page within `POSITIONS` is used, or else the last."""

POSITIONS = 1_500_000
ID_BUDGET = 1_600_000
"""Characters of document ids that one page carries, about 1.2 MB packed."""

TEXT_BUDGET = 6_000_000
"""Characters of passage text that one page carries at most, about 3 MB packed; ranks may need the room."""

TEXT_AND_RANKS = 9_000_000
POSITION = 5.5  # characters of passages that take the room of one position of a ranking

ZERO = 35  # "#": from here on come characters that JSON need not escape, but for one
UNIT = 1e-4  # values are whole numbers of these
_LEVEL = 4  # of gzip: of level 6, a quarter of the time and 3 % more bytes


def payloads(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Return the explorer's data by group key, in JSON values; groups share a page's size budgets evenly."""
    positions = sum(len(_done(group)) * len(group.pool.queries) for group in groups)
    ranks = next((count for count in RANKS if count * positions <= POSITIONS), RANKS[-1])
    share = max(1, len(groups))
    text = max(0, min(TEXT_BUDGET, TEXT_AND_RANKS - round(POSITION * ranks * positions)))
    return {group.key: payload(group, ranks, ID_BUDGET // share, text // share) for group in groups}


def payload(group: Group, ranks: int, id_budget: int, text_budget: int) -> dict[str, Any]:
    """Return one group's data for the explorer, in JSON values.

    `docs` and `texts` have an entry for a query if the budget allows: the ids and the texts of all passages
    that a system has among its first ranks, by ascending first-stage rank. `grades` always has one.

    Args:
        group: the group.
        ranks: number of ranks per system.
        id_budget: most characters of document ids.
        text_budget: most characters of passages.
    """
    systems = _done(group)
    pool = group.pool
    values: list[Mapping[str, float]] = [
        system.quality.per_query.get(group.headline, {}) for system in systems
    ]
    tops = [
        [system.quality.tops.get(query_id, ())[:ranks] for query_id in pool.queries] for system in systems
    ]
    counts = pool.candidates.counts
    letters = [chr(ZERO + rank) for rank in range(max(counts.values(), default=0))]
    ranks_by_query = {
        query_id: sorted(set().union(*[row[index] for row in tops]))
        for index, query_id in enumerate(pool.queries)
    }
    columns = [_column(by_query, pool.queries) for by_query in values]
    spreads = {
        query_id: _spread([column[place] for column in columns])
        for place, query_id in enumerate(pool.queries)
    }
    by_disagreement = sorted(ranks_by_query, key=spreads.__getitem__, reverse=True)
    return {
        "measure": group.headline if pool.qrels else None,
        "baseline": group.baseline,
        "zero": ZERO,
        "unit": UNIT,
        "systems": [system.label for system in systems],
        "ids": list(pool.queries),
        "queries": list(pool.queries.values()),
        "candidates": [counts[query_id] for query_id in pool.queries],
        "relevant": [
            sum(grade > 0 for grade in pool.qrels.get(query_id, {}).values()) for query_id in pool.queries
        ],
        "values": [list(map(_units, column)) for column in columns],
        "ms": [list(map(_milliseconds, _column(s.timing.query_seconds, pool.queries))) for s in systems],
        "tops": [" ".join("".join(map(letters.__getitem__, top)) for top in row) for row in tops],
        "grades": [
            [grades.get(doc_ids[rank]) for rank in first_stage_ranks]
            for query_id, first_stage_ranks in ranks_by_query.items()
            for grades, doc_ids in [(pool.qrels.get(query_id, {}), pool.candidates.doc_ids(query_id))]
        ],
        **_passages(pool, {id_: ranks_by_query[id_] for id_ in by_disagreement}, id_budget, text_budget),
    }


def _passages(
    pool: Pool, ranks_by_query: Mapping[str, Sequence[int]], id_budget: int, text_budget: int
) -> dict[str, Any]:
    """Return `docs` and `texts` of a payload: ids and texts of passages by query, within the budgets.

    Args:
        pool: the candidate set.
        ranks_by_query: first-stage ranks of the passages of each query; the first queries come first.
        id_budget: most characters of document ids.
        text_budget: most characters of passages.
    """
    ids = (
        (query_id, [doc_ids[rank] for rank in ranks])
        for query_id, ranks in ranks_by_query.items()
        for doc_ids in [pool.candidates.doc_ids(query_id)]
    )
    texts = ((query_id, pool.candidates.texts(query_id, ranks)) for query_id, ranks in ranks_by_query.items())
    return {"docs": _within(id_budget, ids), "texts": _within(text_budget, texts)}


def _done(group: Group) -> list[SystemResult]:
    """Return a group's systems that are done."""
    return [system for system in group.systems if system.status == "done"]


def pack(value: object) -> str:
    """Return a value as base64 text of its gzipped JSON; equal values give equal text."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(data, _LEVEL, mtime=0)).decode()


def _column(values: Mapping[str, float], query_ids: Iterable[str]) -> list[float | None]:
    """Return the value of each query, in the order of `query_ids`; None for a query without one."""
    by_query = dict(zip(values, values.values(), strict=True))
    return list(map(by_query.get, query_ids))


def _spread(values: Sequence[float | None]) -> float:
    """Return the difference between the best and the worst system's value on a query; 0 without any."""
    query_values = [value for value in values if value is not None]
    return max(query_values) - min(query_values) if query_values else 0.0


def _within(budget: int, parts: Iterable[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """Return entries, in order, until their characters exceed the budget.

    Entries of empty texts are left out.
    """
    kept = {}
    for query_id, strings in parts:
        budget -= sum(map(len, strings))
        if budget < 0:
            break
        if any(strings):
            kept[query_id] = strings
    return kept


def _milliseconds(seconds: float | None) -> float | None:
    """Return seconds as milliseconds with three significant digits."""
    if seconds is None:
        return None
    rounded = float(f"{1e3 * seconds:.3g}")
    return int(rounded) if rounded.is_integer() else rounded


def _units(value: float | None) -> int | None:
    """Return a value as a whole number of `UNIT`."""
    return None if value is None else round(value / UNIT)
