"""A small experiment that needs neither Java nor a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def write_candidates(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Write candidates and qrels of `queries` queries x `depth` passages; returns the dataset's keys.

    Passage p of each query has grade p % 3, and the first stage ranks p = 0 first.
    """

    def write(queries: int = 3, depth: int = 4) -> dict[str, str]:
        with (tmp_path / "hits.jsonl").open("w") as hits, (tmp_path / "qrels.txt").open("w") as qrels:
            for q in range(queries):
                passages = [
                    {"docid": f"q{q}-d{p}", "score": float(depth - p), "content": f"passage {p} of {q}"}
                    for p in range(depth)
                ]
                hits.write(
                    json.dumps({"query": {"text": f"query {q}", "qid": f"q{q}"}, "hits": passages}) + "\n"
                )
                qrels.writelines(f"q{q} 0 q{q}-d{p} {p % 3}\n" for p in range(depth))
        return {"candidates": "hits.jsonl", "qrels": "qrels.txt"}

    return write


@pytest.fixture
def write_experiment(tmp_path: Path, write_candidates: Callable[..., dict[str, str]]) -> Callable[..., Path]:
    """Write an experiment file over such candidates; keywords replace its keys."""

    def write(queries: int = 3, depth: int = 4, **changes: Any) -> Path:
        content = {
            "name": "test",
            "datasets": write_candidates(queries, depth),
            "first_stages": "given",
            "depths": depth,
            "rerankers": ["first-stage", "reverse"],
            **changes,
        }
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write
