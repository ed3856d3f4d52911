"""Times a large report: makes a result folder, then the page, and opens it in headless Chromium.

    python -m benchmarks.micro.workloads.large_report --depth 100

Seconds are wall time of this process; the first paint is the browser's own paint timing. The data is random,
so nothing in it compresses better than real rankings and latencies would; passages are words from a list.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.candidates.frozen import Pool
from benchmarks.candidates.pool_folder import save_pool
from benchmarks.results.cell_record import write_record
from benchmarks.results.record import Protocol, Record, Session, System
from benchmarks.results.store import read_results, write_experiment
from reports.analysis.context import build
from reports.formats.html import render
from rerankers import Candidate

METHODS = ("cross-encoder", "rankgpt", "pe-rank")
WORDS = 60  # per passage, as in MS MARCO


def make_folder(folder: Path, systems: int, datasets: int, queries: int, depth: int) -> None:
    """Write a result folder of random systems and datasets as the harness would, without running anything.

    Args:
        folder: the folder to make.
        systems: systems on each dataset.
        datasets: number of candidate sets.
        queries: queries of each.
        depth: candidates a query.
    """
    draw = np.random.default_rng(0)
    cells: list[str] = []
    for dataset in range(datasets):
        pool = _pool(draw, f"data-{dataset}", queries, depth)
        save_pool(pool, folder / "pools")
        for system in range(systems):
            cells.append(f"{dataset}-{system:02d}")
            _cell(draw, folder / cells[-1], pool, system)
    write_experiment(folder, "large", cells, {"name": "large"})


def _pool(draw: np.random.Generator, name: str, queries: int, depth: int) -> Pool:
    """Return a random candidate set, in which a third of each query's candidates are judged."""
    vocabulary = np.array([f"w{i}" for i in range(5000)])
    passages = [" ".join(words) for words in vocabulary[draw.integers(0, 5000, (5000, WORDS))]]
    ids = {f"q{i}": draw.choice(len(passages), depth, replace=False) for i in range(queries)}
    judged = {query_id: draw.choice(doc_ids, depth // 3, replace=False) for query_id, doc_ids in ids.items()}
    return Pool.freeze(
        dataset=name,
        first_stage={"kind": "bm25"},
        depth=depth,
        queries={query_id: " ".join(vocabulary[draw.integers(0, 5000, 6)]) for query_id in ids},
        qrels={
            query_id: {f"doc{doc}": int(draw.choice([0, 0, 0, 1, 2])) for doc in doc_ids}
            for query_id, doc_ids in judged.items()
        },
        candidates={
            query_id: [
                Candidate(query_id, f"doc{doc}", passages[doc], float(depth - rank))
                for rank, doc in enumerate(doc_ids)
            ]
            for query_id, doc_ids in ids.items()
        },
    )


def _cell(draw: np.random.Generator, cell: Path, pool: Pool, system: int) -> None:
    """Write the cell of a system with random rankings and latencies.

    The higher the number `system`, the further its rankings drift from the first stage's and towards
    relevance.
    """
    cell.mkdir()
    record = Record(
        cell=cell.name,
        experiment="large",
        status="done",
        system=System(label=f"System {system}", reranker=METHODS[system % 3] if system else "first-stage"),
        dataset=pool.dataset,
        first_stage=pool.first_stage,
        depth=pool.depth,
        pool=pool.digest,
        measures=("nDCG@10", "RR@10"),
        protocol=Protocol(),
        sessions=(Session(started_at="2025-01-01T00:00:00Z", environment={"cpu": {"model": "any"}}),),
    )
    seconds = 0.1 * (system + 1) * draw.lognormal(0, 0.2, len(pool.queries))
    with (cell / "ranking.trec").open("w") as rankings, (cell / "queries.jsonl").open("w") as rows:
        for (query_id, candidates), total in zip(pool.candidates.items(), seconds.tolist(), strict=True):
            grades = np.array([pool.qrels[query_id].get(candidate.doc_id, 0) for candidate in candidates])
            drift = draw.normal(0, 1 + system, len(candidates)) - system * grades / 2
            order = np.argsort(np.arange(len(candidates)) + drift)
            lines = "".join(
                f"{query_id} Q0 {candidates[place].doc_id} {rank} {float(len(order) - rank)} x\n"
                for rank, place in enumerate(order.tolist(), 1)
            )
            row = {
                "query_id": query_id,
                "repeat": 0,
                "session": 0,
                "total_seconds": total,
                "stage_seconds": {"forward": total / 2},
                "usage": {"llm_calls": 1},
                "ranking": hashlib.sha256(lines.encode()).hexdigest()[:16],
            }
            rankings.write(lines)
            rows.write(json.dumps(row) + "\n")
    write_record(cell, record)


def first_paint_seconds(page: Path) -> float:
    """Return the seconds from navigation until headless Chromium first painted anything of a page."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.goto(page.resolve().as_uri())
        painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        tab.wait_for_function(painted)
        milliseconds: float = tab.evaluate(painted)
        browser.close()
    return milliseconds / 1e3


def main() -> None:
    """Make a result folder, and print its page's size and the seconds to make and to paint it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("systems", 30), ("datasets", 8), ("queries", 1000), ("depth", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "large"
        make_folder(folder, options.systems, options.datasets, options.queries, options.depth)
        started = time.perf_counter()
        text = render(build([read_results(folder)]))
        seconds = time.perf_counter() - started
        page = Path(scratch) / "page.html"
        page.write_text(text, encoding="utf-8")
        print(
            f"page in {seconds:.1f} s, {page.stat().st_size / 1e6:.2f} MB, "
            f"first paint after {first_paint_seconds(page):.2f} s"
        )


if __name__ == "__main__":
    main()
