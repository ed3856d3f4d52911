"""The agreement of two judges on the same passages: Cohen's kappa and the confusion of their grades."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Grades = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of two judges who graded the same passages.

    Attributes:
        passages: number of passages that both judged.
        equal: share of passages to which both gave the same grade, 0 to 1.
        kappa: Cohen's kappa of the grades; None where it is not defined.
        relevant_from: lowest grade that counts as relevant.
        kappa_relevant: Cohen's kappa of the two classes relevant and not relevant; None where it is not
            defined.
        confusion: number of passages by (grade of the first judge, grade of the second judge).
    """

    passages: int
    equal: float
    kappa: float | None
    relevant_from: int
    kappa_relevant: float | None
    confusion: Mapping[tuple[int, int], int]


def agreement(grades: Grades, relevant_from: int) -> Agreement | None:
    """Compute the agreement of two judges from their pairs of grades; return None for an empty sequence.

    Args:
        grades: (first judge's grade, second judge's grade) of each passage.
        relevant_from: lowest grade that counts as relevant.
    """
    if not grades:
        return None
    relevant = [(int(one >= relevant_from), int(other >= relevant_from)) for one, other in grades]
    return Agreement(
        passages=len(grades),
        equal=sum(one == other for one, other in grades) / len(grades),
        kappa=cohens_kappa(grades),
        relevant_from=relevant_from,
        kappa_relevant=cohens_kappa(relevant),
        confusion=dict(sorted(Counter(grades).items())),
    )


def cohens_kappa(grades: Grades) -> float | None:
    """Return Cohen's kappa (1960) of pairs of grades: the unweighted agreement beyond chance.

    Return None without pairs, and where both judges give one and the same grade to all passages.
    """
    count = len(grades)
    if not count:
        return None
    observed = sum(one == other for one, other in grades) / count
    first, second = Counter(one for one, _ in grades), Counter(other for _, other in grades)
    by_chance = sum(first[grade] * second[grade] for grade in first) / count**2
    return None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)
