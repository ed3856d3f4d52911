"""Effectiveness of the systems of one group: measures, intervals, and paired tests against a baseline."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from statistics import fmean as mean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.measures import Evaluator
from benchmarks.evaluation.pairwise import TIE
from benchmarks.evaluation.statistics import holm, mean_intervals, paired_t_test
from reports.analysis.comparisons.by_query import ByQuery, RanksByQuery
from reports.analysis.estimates import Comparison, Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.candidates.frozen import Pool
    from benchmarks.results.stored import StoredRankings

PerQuery = dict[str, ByQuery]
"""By measure, its value for each judged query."""

TOP = 20
"""Ranks of each ranking that reports show."""

DEPTHS = (10, 20, 30, 50, 75)
"""Numbers of candidates at which an imported run is looked at, up to its pool's own."""


class UnfitRankingError(ValueError):
    """The error of a ranking that holds a passage twice, or a passage that is not among the candidates.

    Args:
        query_id: the query whose ranking it is.
        candidates: doc ids of its candidates.
        doc_ids: the ranking.

    Attributes:
        query_id: the query whose ranking it is.
        doc_id: the first wrong passage.
        occurrence: which of the ranking's lines with that passage is wrong, 1 or 2.
    """

    def __init__(self, query_id: str, candidates: Sequence[str], doc_ids: Sequence[str]) -> None:
        candidate_ids, seen = {*candidates}, set[str]()
        self.query_id = query_id
        for self.doc_id in doc_ids:
            if self.doc_id not in candidate_ids or self.doc_id in seen:
                break
            seen.add(self.doc_id)
        self.occurrence = 2 if self.doc_id in seen else 1
        what = "a second time" if self.doc_id in seen else "which is not among the candidates"
        super().__init__(f"query {query_id!r} ranks {self.doc_id!r}, {what}")


@dataclass(frozen=True, slots=True)
class Ranked:
    """The evaluation of one system's rankings.

    Attributes:
        replicates: for each replicate, the values by query of each measure; empty without judgements.
        tops: the heads of the first replicate's rankings.
        by_depth: the headline measure by depth, as in `Quality`.
    """

    replicates: tuple[PerQuery, ...] = ()
    tops: RanksByQuery = field(default_factory=lambda: RanksByQuery([], []))
    by_depth: Mapping[int, float] = field(default_factory=dict)


class Rankings:
    """The evaluator of a group's rankings, which checks them against the candidates and computes measures.

    Args:
        pool: the candidates, and judgements if there are any.
        measures: names as ir_measures prints them.
    """

    def __init__(self, pool: Pool, measures: Sequence[str]) -> None:
        self._evaluator = Evaluator(pool.qrels, measures) if pool.qrels else None
        self._qrels, self._measure = pool.qrels, measures[0]
        self._depth = pool.depth
        self._judged = {query_id: place for place, query_id in enumerate(pool.qrels)}
        self._candidates = {  # one text a query, which takes a tenth of the memory of a list
            query_id: "\n".join(pool.candidates.doc_ids(query_id)) for query_id in pool.candidates
        }

    def parse(self, stored: StoredRankings) -> dict[str, list[str]]:
        """Return the head of each stored ranking: doc ids by query id, best first.

        It is as long as the measures and a report need.
        """
        reach = self._evaluator.reach if self._evaluator else 0
        return stored.orders(None if reach is None else max(TOP, reach))

    def read(self, orders: Mapping[str, Sequence[str]]) -> tuple[PerQuery, RanksByQuery]:
        """Check rankings against the candidates, and compute the measures.

        Args:
            orders: doc ids by query id, best first.

        Returns:
            each measure's value by judged query, empty without judgements; and the first 20 of each ranking
            as 0-based first-stage ranks.

        Raises:
            UnfitRankingError: a ranking holds a passage twice, or one that is not a candidate of its query.
        """
        tops = []
        for query_id, doc_ids in orders.items():
            ranks = self._ranks(query_id)
            ranked_ids = {*doc_ids}
            if len(ranked_ids) < len(doc_ids) or not ranks.keys() >= ranked_ids:
                raise UnfitRankingError(query_id, [*ranks], doc_ids)
            tops.append([ranks[doc_id] for doc_id in doc_ids[:TOP]])
        values = self._evaluator.arrays(orders) if self._evaluator else {}
        per_query = {measure: ByQuery(self._judged, array) for measure, array in values.items()}
        return per_query, RanksByQuery([*orders], tops)

    def by_depth(self, orders: Mapping[str, Sequence[str]]) -> dict[int, float]:
        """Return the headline measure by depth: its mean had only that many candidates been reranked.

        The ranking's order is kept among them, and the others follow in the first stage's order. For a
        pointwise method the value is exact. For a listwise one it is an estimate, because with fewer
        candidates the method sees other lists.

        Args:
            orders: doc ids by query id, best first.
        """
        depths = (*(depth for depth in DEPTHS if depth < self._depth), self._depth)
        cuts: dict[int, dict[str, list[str]]] = {depth: {} for depth in depths}
        for query_id, doc_ids in orders.items():
            ranks = self._ranks(query_id)
            placed = [(doc_id, ranks[doc_id]) for doc_id in doc_ids]
            for depth in depths:
                reranked = [doc_id for doc_id, rank in placed if rank < depth]
                cuts[depth][query_id] = [*reranked, *islice(ranks, depth, None)][: self._headline.reach]
        values_by_depth = {}
        for depth, cut in cuts.items():
            (by_query,) = self._headline.evaluate(cut).values()
            values_by_depth[depth] = mean(by_query.values())
        return values_by_depth

    def _ranks(self, query_id: str) -> dict[str, int]:
        """Return the 0-based first-stage rank of each candidate of a query; empty for an unknown query."""
        doc_ids = self._candidates.get(query_id)
        if not doc_ids:
            return {}
        separate = doc_ids.split("\n")
        return dict(zip(separate, range(len(separate)), strict=True))

    @cached_property
    def _headline(self) -> Evaluator:
        """The evaluator of the headline measure alone."""
        return Evaluator(self._qrels, [self._measure])


def estimates(values: PerQuery) -> dict[str, Estimate]:
    """Return each measure's mean over the judged queries with its 95 % bootstrap interval, by measure.

    Judged@k has no interval.
    """
    resampled = [measure for measure in values if not measure.startswith("Judged")]
    intervals = dict(
        zip(resampled, mean_intervals([values[measure].array for measure in resampled]), strict=True)
    )
    return {
        measure: Estimate(mean(by_query.values()), *intervals.get(measure, (None, None)))
        for measure, by_query in values.items()
    }


def compare(values: Mapping[str, PerQuery], baseline: str) -> dict[str, dict[str, Comparison]]:
    """Compare every system with the baseline on each measure, by label and measure.

    Holm's correction runs, measure by measure, over all systems that are compared with the baseline: leave
    out those that nobody asks about, such as controls. Judged@k is not compared.

    Args:
        values: values by query by measure, by label.
        baseline: label of the baseline, one of those.
    """
    others = [label for label in values if label != baseline]
    comparisons: dict[str, dict[str, Comparison]] = {label: {} for label in values}
    for measure, reference in values[baseline].items():
        if measure.startswith("Judged"):
            continue  # how much is known about a ranking, not how good it is
        base = reference.array
        p_values = {label: paired_t_test(values[label][measure].array, base) for label in others}
        corrected = holm(p_values)
        for label in others:
            differences = values[label][measure].array - base
            comparisons[label][measure] = Comparison(
                difference=float(differences.mean()),
                p_value=p_values[label],
                p_holm=corrected[label],
                wins=int((differences > TIE).sum()),
                ties=int((np.abs(differences) <= TIE).sum()),
                losses=int((differences < -TIE).sum()),
            )
    return comparisons
