"""Building a Lucene index: from a dataset's passages, against Anserini's own way and against single objects.

    pytest benchmarks/micro/test_first_stages.py --benchmark-only

`anserini` writes the passages as JSON lines and calls `IndexCollection` on them, conversion included.
`objects` hands pyserini's `LuceneIndexer` a thousand passages at a time. Seconds are CPU seconds of this
process, Java's threads included, so that other work on the machine does not count; `extra_info` has them.
Passages are 20 to 80 random words; `RERANKBENCH_BENCH_PASSAGES` says how many there are.
"""

from __future__ import annotations

import json
import os
import random
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from benchmarks.first_stages.java import quiet_import, start_java
from benchmarks.first_stages.lucene_index import build_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.datasets.dataset import Dataset

PASSAGES = int(os.environ.get("RERANKBENCH_BENCH_PASSAGES", "40000"))


class Passages:
    """A dataset that has nothing but random passages, the same ones each time."""

    name, passage_count = "random passages", PASSAGES

    def documents(self) -> Iterator[tuple[str, str]]:
        draw = random.Random(0)  # noqa: S311 - no secret
        words = [f"word{number}" for number in range(20_000)]
        for number in range(PASSAGES):
            yield f"d{number}", " ".join(draw.choices(words, k=draw.randint(20, 80)))


def as_anserini(folder: Path) -> None:
    from jnius import autoclass

    passages = folder / "passages"
    passages.mkdir()
    with (passages / "0.jsonl").open("w") as first, (passages / "1.jsonl").open("w") as second:
        for number, (doc_id, text) in enumerate(Passages().documents()):
            (first if number % 2 else second).write(json.dumps({"id": doc_id, "contents": text}) + "\n")
    settings = f"-collection JsonCollection -input {passages} -index {folder / 'index'} -quiet".split()
    autoclass("io.anserini.index.IndexCollection").main([*settings, "-threads", str(os.cpu_count())])


def as_objects(folder: Path) -> None:
    with quiet_import():
        from pyserini.index.lucene import LuceneIndexer

    indexer = LuceneIndexer(str(folder / "index"), threads=os.cpu_count() or 1)
    batch: list[dict[str, str]] = []
    for doc_id, text in Passages().documents():
        batch.append({"id": doc_id, "contents": text})
        if len(batch) == 1000:
            indexer.add_batch_dict(batch)
            batch = []
    indexer.add_batch_dict(batch)
    indexer.close()


def test_building_an_index(benchmark: Any, tmp_path: Path, measured: Callable[[str, float], None]) -> None:
    pytest.importorskip("jnius_config", reason="needs the extra bm25")
    start_java()
    with quiet_import():
        import pyserini.index.lucene  # noqa: F401 - its import is not a part of building
    ways: dict[str, Callable[[Path], None]] = {
        "anserini": as_anserini,
        "files": lambda folder: build_index(cast("Dataset", Passages()), folder / "index"),
        "objects": as_objects,
    }
    seconds: dict[str, float] = {}

    def in_turn() -> None:
        for way in ("warm-up", *ways):  # Java compiles what it runs often
            folder = tmp_path / way
            folder.mkdir()
            started = time.process_time()
            ways.get(way, as_anserini)(folder)
            seconds[way] = time.process_time() - started

    benchmark.pedantic(in_turn, rounds=1)
    benchmark.extra_info |= {f"{way}_cpu_seconds": value for way, value in seconds.items()}
    measured("bm25/indexing-speed", seconds["anserini"] / seconds["files"])
