"""The layout `overlap`: agreement between systems on the order of candidates, which needs no judgements."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.ranking_agreement import agreement
from reports.formats.numbers import fixed
from reports.tables.cells import Cell, Head, Note, Row, Table
from reports.tables.grouped import about

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.evaluation.ranking_agreement import Agreement
    from reports.analysis.comparisons.by_query import RanksByQuery
    from reports.analysis.values import Context, Group

TOP = 20
"""Number of ranks compared, as many as a report keeps of each ranking."""
QUERIES = 10
"""Number of queries in the table of largest disagreement."""
_LONGEST = 80  # characters of a query

_HEADS = (
    Head("overlap@10", "overlap@10", "Agreement", "share of passages that both have in their first ten"),
    Head("rbo", "RBO", "Agreement", "rank-biased overlap, p = 0.9"),
    Head("kendall", "Kendall's τ", "Agreement", "over the passages that both have in their first twenty"),
)


def tables(context: Context) -> list[Table]:
    """Build two tables per group: agreement of each pair of systems, and the queries with least agreement."""
    built = []
    for group in context.groups:
        tops = {
            system.label: system.quality.tops
            for system in group.systems
            if system.quality.tops and system.role != "control"
        }
        queries = [
            query_id for query_id in group.pool.queries if all(query_id in top for top in tops.values())
        ]
        pairs = _pairs(tops, queries)
        if pairs:
            built += [_of_pairs(group, pairs, queries), _of_queries(group, pairs, queries)]
    return built


def _pairs(tops: Mapping[str, RanksByQuery], queries: Sequence[str]) -> dict[tuple[str, str], Agreement]:
    """Return the agreement of every two systems on some queries, by their labels; empty without queries."""
    if not queries:
        return {}
    rows = {label: ranks.rows(queries, TOP) for label, ranks in tops.items()}
    return {(a, b): agreement(rows[a], rows[b]) for a, b in combinations(rows, 2)}


def _of_pairs(group: Group, pairs: dict[tuple[str, str], Agreement], queries: Sequence[str]) -> Table:
    """Build the table with one row per pair of systems."""
    rows = [
        _row(f"{first} / {second}", [values.overlap, values.rbo, values.kendall])
        for (first, second), values in pairs.items()
    ]
    return Table(
        name=f"overlap-{group.key}",
        caption=f"Agreement between systems on {group.title} ({len(queries)} queries).",
        about=about(group),
        columns=_HEADS,
        rows=tuple(rows),
        notes=(Note("Means over queries; 1 is the same order"),),
        warnings=group.warnings,
        group=group.key,
        row_title="Pair of systems",
    )


def _of_queries(group: Group, pairs: dict[tuple[str, str], Agreement], queries: Sequence[str]) -> Table:
    """Build the table of the queries with the lowest mean RBO over all pairs of systems."""
    by_measure = [
        np.stack([getattr(values, name) for values in pairs.values()])
        for name in ("overlap", "rbo", "kendall")
    ]
    rbo = np.nan_to_num(by_measure[1], nan=1.0).mean(axis=0)
    order = np.argsort(rbo, kind="stable")[:QUERIES]
    rows = [
        _row(_short(queries[index], group), [of_pairs[:, index] for of_pairs in by_measure])
        for index in order.tolist()
    ]
    return Table(
        name=f"disagreement-{group.key}",
        caption=f"Queries on which systems disagree most, on {group.title}.",
        about=about(group),
        columns=_HEADS,
        rows=tuple(rows),
        notes=(Note(f"Means over {len(pairs)} pairs of systems, lowest RBO first"),),
        warnings=group.warnings,
        group=group.key,
        row_title="Query",
    )


def _short(query_id: str, group: Group) -> str:
    """Return a query's id and its text, cut to 80 characters."""
    text = " ".join(group.pool.queries[query_id].split())
    excerpt = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"{query_id}: {excerpt}"


def _row(label: str, values: list[NDArray[np.float64]]) -> Row:
    """Return a row with the mean of each sample; NaN are left out."""
    cells = []
    for sample in values:
        defined = sample[~np.isnan(sample)]
        mean = float(defined.mean()) if defined.size else None
        cells.append(Cell() if mean is None else Cell(value=mean, text=fixed(mean, 3)))
    return Row(label, "reranker", "", "done", (), tuple(cells))
