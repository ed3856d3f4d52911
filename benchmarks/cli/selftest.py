"""Checks the harness with control rerankers, whose result is known, through the whole pipeline.

The oracle must reach exactly what its candidates allow, the identity exactly the first stage, and the reverse
must stay below it. A harness that loses candidates, mixes queries up, averages over the wrong ones or breaks
ties in its own way fails at least one of them. Expected values are computed here from the definition of nDCG
(linear gain, log2 discount), not by the library that computes the measures.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from math import isclose, log2
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.measures import evaluate
from benchmarks.executors.local import run
from benchmarks.experiments.config import Experiment
from benchmarks.first_stages.java import java_status
from benchmarks.results.store import read_results
from rerankers.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.candidates.frozen import Pool

MEASURE = "nDCG@10"
CUTOFF = 10
DATA = Path(__file__).parent / "selftest_data"


@dataclass(frozen=True)
class Check:
    """The result of one control: its nDCG@10, the expected value in words, and whether they agree."""

    system: str
    value: float
    promise: str
    is_kept: bool

    def __str__(self) -> str:
        return (
            f"{'ok' if self.is_kept else 'WRONG':7}{self.system:14}{MEASURE} {self.value:.4f}, {self.promise}"
        )


def selftest() -> list[Check]:
    """Run the controls and return their checks.

    The data are the built-in collection with BM25 or, without Java, a small candidates file.

    Raises:
        StoreError: a control did not finish.
    """
    has_lucene = java_status().chosen is not None and importlib.util.find_spec("pyserini") is not None
    files = {"candidates": str(DATA / "candidates.jsonl"), "qrels": str(DATA / "qrels.txt")}
    return check("bundled", "bm25") if has_lucene else check(files, "given")


def check(dataset: str | dict[str, Any], first_stage: str) -> list[Check]:
    """Run the controls on a dataset with a first stage, and compare their means with expected values."""
    experiment = Experiment.model_validate(
        {
            "name": "selftest",
            "datasets": dataset,
            "first_stages": first_stage,
            "depths": 20,
            "rerankers": ["oracle", "first-stage", "reverse"],
            "measures": MEASURE,
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        outcome = run(experiment, {}, Path(scratch))
        for error in outcome.failures.values():
            raise StoreError(f"a control did not finish: {error}")
        results = read_results(scratch)
        pool = results.pool(results.cells[0].record.pool)
        means = {
            cell.record.system.reranker: fmean(
                evaluate(cell.rankings, pool.qrels, [MEASURE])[MEASURE].values()
            )
            for cell in results.cells
        }
    reachable, retrieved = _reachable(pool), _as_retrieved(pool)
    oracle, identity, reverse = means["oracle"], means["first-stage"], means["reverse"]
    return [
        Check("oracle", oracle, f"reachable {reachable:.4f}", isclose(oracle, reachable, abs_tol=1e-9)),
        Check(
            "first-stage", identity, f"retrieved {retrieved:.4f}", isclose(identity, retrieved, abs_tol=1e-9)
        ),
        Check("reverse", reverse, "below the first stage", reverse < identity),
    ]


def _reachable(pool: Pool) -> float:
    """Return the mean nDCG@10 if each query's candidates were sorted by grade."""
    return fmean(
        _ndcg(sorted(_grades(pool, query_id), reverse=True), grades.values())
        for query_id, grades in pool.qrels.items()
    )


def _as_retrieved(pool: Pool) -> float:
    """Return the mean nDCG@10 of the candidates in the first stage's order."""
    return fmean(_ndcg(_grades(pool, query_id), grades.values()) for query_id, grades in pool.qrels.items())


def _grades(pool: Pool, query_id: str) -> list[int]:
    """Return the grades of a query's candidates in order; 0 for unjudged ones."""
    return [pool.qrels[query_id].get(candidate.doc_id, 0) for candidate in pool.candidates[query_id]]


def _ndcg(ranked: list[int], judged: Iterable[int]) -> float:
    """Return nDCG@10 of a ranking, given its grades in order and the grades of all judged passages."""
    ideal = _dcg(sorted(judged, reverse=True))
    return _dcg(ranked) / ideal if ideal else 0.0


def _dcg(grades: list[int]) -> float:
    """Return DCG@10 of grades in ranked order."""
    return sum(max(0, grade) / log2(rank + 1) for rank, grade in enumerate(grades[:CUTOFF], start=1))
