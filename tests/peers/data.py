"""The small data that all programs evaluate: the built-in collection, ranked well, badly and wrongly."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COLLECTION = ROOT / "benchmarks" / "bundled"
CASES: dict[str, Any] = json.loads(Path(__file__).with_name("cases.json").read_text(encoding="utf-8"))

Run = dict[str, dict[str, float]]


def qrels() -> dict[str, dict[str, int]]:
    """Grades of the built-in collection."""
    lines = (COLLECTION / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    grades: dict[str, dict[str, int]] = {}
    for line in lines:
        query_id, doc_id, grade = line.split("\t")
        grades.setdefault(query_id, {})[doc_id] = int(grade)
    return grades


def runs() -> dict[str, Run]:
    """Rankings of 20 passages a query: two systems, one with queries missing, one with ties."""
    with (COLLECTION / "corpus.jsonl").open(encoding="utf-8") as file:
        doc_ids = [json.loads(line)["_id"] for line in file]
    rng = random.Random(0)
    scores_by_run: dict[str, Run] = {"good": {}, "fair": {}, "ties": {}}
    for query_id, grades in qrels().items():
        pool = sorted({*grades, *rng.sample(doc_ids, 20)})
        for name, noise in (("good", 0.6), ("fair", 1.6)):
            scored = {doc: grades.get(doc, 0) + rng.gauss(0, noise) for doc in pool}
            best = sorted(scored, key=lambda doc: (-scored[doc], doc))[:20]
            scores_by_run[name][query_id] = {doc: float(20 - place) for place, doc in enumerate(best)}
        scores_by_run["ties"][query_id] = {
            doc: float(score // 7) for doc, score in scores_by_run["good"][query_id].items()
        }
    scores_by_run["missing"] = {
        query: hits for place, (query, hits) in enumerate(scores_by_run["good"].items()) if place % 4
    }
    return scores_by_run
