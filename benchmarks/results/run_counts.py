"""Counts foreign queries and tied scores of a TREC run, which the ranking that is used does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.evaluation.ties import count_ties
from benchmarks.measuring.progress import say
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping, Sequence
    from pathlib import Path


class RunCounts(NamedTuple):
    """Counts of left-out queries and tied passages of one run, read for one dataset.

    Attributes:
        queries_left_out: number of the run's queries that are not used, because the dataset lacks them or has
            no judgements for them.
        tied_passages: number of passages of the other queries whose score, in 32 bits, equals that of another
            passage of the same query.
    """

    queries_left_out: int
    tied_passages: int

    @classmethod
    def of(cls, run: Mapping[str, Sequence[tuple[str, float]]], queries: Container[str]) -> RunCounts:
        """Count left-out queries and ties of a run, of which only `queries` are used."""
        ranked = [hits for query_id, hits in run.items() if query_id in queries]
        return cls(len(run) - len(ranked), sum(map(count_ties, ranked)))

    def nonzero(self) -> dict[str, int]:
        """Return the counts above zero by field name."""
        return {name: count for name, count in self._asdict().items() if count}

    def sentences(self) -> list[str]:
        """Return `description: count` for each count above zero."""
        clauses = {
            "queries of the run left out, not in the dataset or not judged": self.queries_left_out,
            "passages that share a score, ordered by document id as in trec_eval": self.tied_passages,
        }
        return [f"{clause}: {count}" for clause, count in clauses.items() if count]


def say_counts(path: Path, counts: RunCounts) -> None:
    """Print a run's counts above zero, a line each, after its path."""
    for clause in counts.sentences():
        say(f"{path}: {clause}")


def check_queries(path: Path, run: Collection[str], queries: Collection[str]) -> None:
    """Raise InputError if a run shares no query with a dataset; the message shows a query id of each."""
    if not set(run).intersection(queries):
        theirs, ours = next(iter(run)), next(iter(queries), None)
        reason = f"ranks none of the queries: it has {theirs!r} and others, the dataset {ours!r} and others"
        raise InputError.at(path, None, f"{reason}. Name the run's own dataset.")
