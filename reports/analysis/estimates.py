"""Estimates of measures with their intervals, and comparisons of two systems on one measure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with the ends of its 95 % bootstrap interval; None where no interval makes sense."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference between one system and another on one measure, paired over the judged queries.

    Attributes:
        difference: mean over queries of the first system's value less the other's.
        p_value: p-value of the two-sided paired t-test.
        p_holm: the same after Holm's correction over all systems compared in the group.
        wins: number of queries where the first system is better; `ties` and `losses` likewise.
    """

    difference: float
    p_value: float
    p_holm: float
    wins: int
    ties: int
    losses: int

    @property
    def significant(self) -> bool:
        """True if the corrected p-value is below 0.05."""
        return self.p_holm < 0.05
