"""Measures of ranked held-out lists: nDCG@10 against the teacher's order, and against judgements.

Teacher: the passage on gold rank r (from 0) has the gain 10 - r, and passages from rank 10 on have none. So
1.0 means that the first ten ranks are exactly the teacher's.

Judgements: a passage's gain is its grade. The ideal order takes all judged passages of the query, those
outside the list too: a list without the relevant passages cannot reach 1.0. A query without a relevant
passage has 0.

Both discount rank r by 1 / log2(r + 2), as trec_eval does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.training.data.records import RankingRecord

DEPTH = 10
TEACHER, JUDGED = "ndcg@10", "judged_ndcg@10"


def gold_ndcg(order: Sequence[int], ranking: Sequence[int]) -> float:
    """Return nDCG@10 of an order of passages against their gold order; 1.0 for no passages.

    Args:
        order: passage numbers, best first.
        ranking: the gold order: passage numbers, best first.
    """
    gains = _gold_gains(ranking)
    return _ndcg([gains[passage] for passage in order], gains) if len(ranking) else 1.0


@dataclass(frozen=True, slots=True)
class HeldOutLists:
    """The references of held-out lists: gold order, first-stage order, and grades, to measure orders against.

    Attributes:
        rankings: gold order of each list, positions from 0, best first.
        first_stage: the first stage's order of each list; None where the data does not say.
        grades: grade of each passage of each list; None for a list without judgements.
        elsewhere: grades of each query's judged passages outside the list.
    """

    rankings: Sequence[Sequence[int]]
    first_stage: Sequence[Sequence[int]] | None = None
    grades: Sequence[Sequence[int] | None] = ()
    elsewhere: Sequence[Sequence[int]] = ()

    @classmethod
    def of(cls, records: Sequence[RankingRecord]) -> HeldOutLists:
        """Return the references of the records of a file; first-stage orders only if every record has one."""
        orders = [record.first_stage for record in records if record.first_stage is not None]
        return cls(
            [record.ranking for record in records],
            orders if len(orders) == len(records) else None,
            [record.grades for record in records],
            [record.grades_elsewhere for record in records],
        )

    @property
    def judged(self) -> int:
        """Number of lists that have judgements."""
        return sum(grades is not None for grades in self.grades)

    def measure(self, orders: Sequence[Sequence[int]]) -> dict[str, float]:
        """Return the mean of each measure over the lists by name; `judged_ndcg@10` only if a list is judged.

        Args:
            orders: of each list's passages, positions from 0, best first.
        """
        pairs = zip(orders, self.rankings, strict=True)
        means = {TEACHER: _mean([gold_ndcg(order, ranking) for order, ranking in pairs])}
        if self.judged:
            means[JUDGED] = _mean(
                [
                    _ndcg([grades[passage] for passage in order], [*grades, *elsewhere])
                    for order, grades, elsewhere in zip(orders, self.grades, self.elsewhere, strict=True)
                    if grades is not None
                ]
            )
        return means

    def references(self) -> dict[str, dict[str, float]]:
        """Return the measures of three other orders, by the order's name: first stage, teacher and chance.

        Where the data does not tell the first stage's order, the order of the input takes its place.
        """
        first_stage = [range(len(ranking)) for ranking in self.rankings]
        name, first = (
            ("input order", first_stage) if self.first_stage is None else ("first stage", self.first_stage)
        )
        return {
            name: self.measure(first),
            "teacher": self.measure(self.rankings),
            "chance": self._expected(),
        }

    def _expected(self) -> dict[str, float]:
        """Return the measures to expect of random orders: every rank has the mean gain of its list."""
        means = {TEACHER: _mean([_chance(_gold_gains(ranking), []) for ranking in self.rankings])}
        if self.judged:
            means[JUDGED] = _mean(
                [
                    _chance([max(0, grade) for grade in grades], elsewhere)
                    for grades, elsewhere in zip(self.grades, self.elsewhere, strict=True)
                    if grades is not None
                ]
            )
        return means


def _gold_gains(ranking: Sequence[int]) -> list[int]:
    """Return the gain of each passage by number: 10 for the first of the gold order, 9 for the next, ..."""
    gains = [0] * len(ranking)
    for rank, passage in enumerate(ranking):
        gains[passage] = max(0, DEPTH - rank)
    return gains


def _ndcg(gains: Sequence[int], ideal: Sequence[int]) -> float:
    """Return nDCG@10 of gains by rank, against the ideal order of the gains `ideal`.

    0 if none is positive.
    """
    best = _dcg(sorted(ideal, reverse=True))
    return _dcg(gains) / best if best > 0 else 0.0


def _chance(gains: Sequence[int], elsewhere: Sequence[int]) -> float:
    """Return the expected nDCG@10 of a random order of these gains.

    `elsewhere` counts in the ideal order only.
    """
    best = _dcg(sorted([*gains, *elsewhere], reverse=True))
    return float(np.mean(gains)) * _dcg([1] * len(gains)) / best if best > 0 else 0.0


def _dcg(gains: Sequence[int]) -> float:
    """Return the DCG of the first ten gains by rank; negative ones count as 0."""
    return float(sum(max(0, gain) / np.log2(rank + 2) for rank, gain in enumerate(gains[:DEPTH])))


def _mean(values: Sequence[float]) -> float:
    """Return the mean of values as a float."""
    return float(np.mean(values))
