"""Effectiveness of the systems of one group: measures, intervals, and paired tests against a baseline."""

from __future__ import annotations

from statistics import fmean as mean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evaluation.measures import Evaluator
from benchmarks.evaluation.pairwise import TIE
from benchmarks.evaluation.statistics import bootstrap_interval, holm, paired_t_test
from reports.analysis.values import Comparison, Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.candidates.frozen import Pool
    from benchmarks.results.store import StoredRankings

PerQuery = dict[str, dict[str, float]]
Tops = dict[str, tuple[int, ...]]  # by query id, the first `TOP` passages as 0-based ranks of the first stage

TOP = 20
"""Ranks of each ranking that reports show."""

DEPTHS = (10, 20, 30, 50, 75)
"""Numbers of candidates at which an imported run is looked at, up to its pool's own."""


class UnfitRankingError(ValueError):
    """A ranking holds a passage twice, or one that is not among the candidates.

    Attributes:
        query_id: whose ranking it is.
        doc_id: the passage.
        occurrence: which of the ranking's lines with that passage is wrong, 1 or 2.
    """

    def __init__(self, query_id: str, candidates: Sequence[str], doc_ids: Sequence[str]) -> None:
        known, seen = {*candidates}, set[str]()
        self.query_id = query_id
        for self.doc_id in doc_ids:
            if self.doc_id not in known or self.doc_id in seen:
                break
            seen.add(self.doc_id)
        self.occurrence = 2 if self.doc_id in seen else 1
        what = "a second time" if self.doc_id in seen else "which is not among the candidates"
        super().__init__(f"query {query_id!r} ranks {self.doc_id!r}, {what}")


class Rankings:
    """What a group's pool says about the systems on it, one system after the other.

    Args:
        pool: the candidates, and judgements if there are any.
        measures: names as ir_measures prints them.
    """

    def __init__(self, pool: Pool, measures: Sequence[str]) -> None:
        self._evaluator = Evaluator(pool.qrels, measures) if pool.qrels else None
        self._headline = Evaluator(pool.qrels, measures[:1])
        self._depth = pool.depth
        self._ranks = {
            query_id: {candidate.doc_id: rank for rank, candidate in enumerate(candidates)}
            for query_id, candidates in pool.candidates.items()
        }

    def parse(self, stored: StoredRankings) -> dict[str, list[str]]:
        """Doc ids by query id, best first, as many as a report needs: all where a measure looks at all."""
        reach = self._evaluator.reach if self._evaluator else 0
        return stored.orders(None if reach is None else max(TOP, reach))

    def read(self, orders: Mapping[str, Sequence[str]]) -> tuple[PerQuery, Tops]:
        """Each measure for each judged query, empty without judgements; and the head of each ranking.

        Args:
            orders: doc ids by query id, best first.

        Raises:
            UnfitRankingError: one of them is not a ranking of its query's candidates.
        """
        for query_id, doc_ids in orders.items():
            given = {*doc_ids}
            if len(given) < len(doc_ids) or not self._ranks.get(query_id, {}).keys() >= given:
                raise UnfitRankingError(query_id, [*self._ranks.get(query_id, ())], doc_ids)
        tops = {
            query_id: tuple(map(self._ranks[query_id].__getitem__, doc_ids[:TOP]))
            for query_id, doc_ids in orders.items()
        }
        return self._evaluator.evaluate(orders) if self._evaluator else {}, tops

    def by_depth(self, orders: Mapping[str, Sequence[str]]) -> dict[int, float]:
        """The headline measure had only the first so many candidates been reranked, by their number.

        The ranking's order is kept among them, and the rest follows as the first stage had it. That is what
        a pointwise method gives at that depth; of a listwise one, which sees other lists then, an estimate.
        """
        found = {}
        for depth in (*(depth for depth in DEPTHS if depth < self._depth), self._depth):
            cut = {
                query_id: [doc_id for doc_id in doc_ids if self._ranks[query_id][doc_id] < depth]
                + [doc_id for doc_id, rank in self._ranks[query_id].items() if rank >= depth]
                for query_id, doc_ids in orders.items()
            }
            (by_query,) = self._headline.evaluate(cut).values()
            found[depth] = mean(by_query.values())
        return found


def estimates(values: PerQuery) -> dict[str, Estimate]:
    """Mean over the judged queries, with a 95 % bootstrap interval over them; no interval for Judged@k."""
    found = {}
    for measure, by_query in values.items():
        sample = list(by_query.values())
        interval = (None, None) if measure.startswith("Judged") else bootstrap_interval(sample)
        found[measure] = Estimate(mean(sample), *interval)
    return found


def compare(values: Mapping[str, PerQuery], baseline: str) -> dict[str, dict[str, Comparison]]:
    """Every system minus the baseline, by label and measure.

    Holm's correction runs, measure by measure, over all systems that are compared with the baseline.
    """
    others = [label for label in values if label != baseline]
    found: dict[str, dict[str, Comparison]] = {label: {} for label in values}
    for measure, reference in values[baseline].items():
        if measure.startswith("Judged"):
            continue  # how much is known about a ranking, not how good it is
        base = np.array([*reference.values()])
        samples = {label: np.array([*values[label][measure].values()]) for label in others}
        p_values = {label: paired_t_test(sample, base) for label, sample in samples.items()}
        corrected = holm(p_values)
        for label, sample in samples.items():
            differences = sample - base
            found[label][measure] = Comparison(
                difference=float(differences.mean()),
                p_value=p_values[label],
                p_holm=corrected[label],
                wins=int((differences > TIE).sum()),
                ties=int((np.abs(differences) <= TIE).sum()),
                losses=int((differences < -TIE).sum()),
            )
    return found
