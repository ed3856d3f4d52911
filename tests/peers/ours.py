"""What this project answers to every case, as JSON in the file named."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from data import CASES, Run, qrels, runs  # type: ignore[import-not-found]

from benchmarks.evaluation.measures import evaluate
from benchmarks.evaluation.statistics import paired_t_test
from benchmarks.measuring.protocol import measure
from benchmarks.results.record import Protocol
from rerankers import Candidate, Ranking, Reranker, RerankRequest, StageClock
from rerankers.interface import Cost
from rerankers.listwise.permutation import parse
from rerankers.listwise.windows import sliding_windows

SECONDS = 0.02


class Sleeper(Reranker):
    """Takes a known time over each query."""

    def rerank(self, requests: list[RerankRequest], clock: StageClock) -> list[Ranking]:  # type: ignore[override]
        """Wait, and keep the order."""
        rankings = []
        for request in requests:
            cost = Cost()
            with clock.stage("forward", cost):
                time.sleep(SECONDS)
            rankings.append(Ranking.of(request, range(len(request.candidates)), cost))
        return rankings


def ndcg(run: Run) -> dict[str, float]:
    """nDCG@10 by judged query; a ranking is handed on best first."""
    ranked = {query: sorted(hits.items(), key=lambda hit: -hit[1]) for query, hits in run.items()}
    return evaluate(ranked, qrels(), ["nDCG@10"])["nDCG@10"]


def mean_seconds() -> float:
    """Mean seconds per query of ten queries that take `SECONDS` each."""
    candidates = tuple(Candidate("q", f"d{i}", "text", -float(i)) for i in range(3))
    requests = [RerankRequest("q", "query", candidates) for _ in range(10)]
    calls = [
        call for call in measure(Sleeper(), requests, Protocol(), StageClock(), set()) if call is not None
    ]
    return sum(call[2] for call in calls) / len(calls)


def main() -> None:
    """Answer."""
    runs_by_name = runs()
    quality = {name: ndcg(run) for name, run in runs_by_name.items()}
    queries = list(qrels())
    good, fair = ([quality[name][query] for query in queries] for name in ("good", "fair"))
    strict = re.compile(r"\[(\d+)\]")
    answers = {
        "parsing": [[i + 1 for i in parse(case["text"], case["count"]).order] for case in CASES["answers"]],
        "parsing, strict": [
            [i + 1 for i in parse(case["text"], case["count"], strict).order] for case in CASES["answers"]
        ],
        "windows": [
            sliding_windows(case["count"], case["window"], case["step"]) for case in CASES["windows"]
        ],
        "ndcg": {name: sum(values.values()) / len(values) for name, values in quality.items()},
        "p": paired_t_test(good, fair),
        "latency": mean_seconds(),
    }
    Path(sys.argv[1]).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
