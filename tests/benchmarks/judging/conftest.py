"""A result folder with holes in its judgements, and a chat endpoint that grades what it is asked about."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from tests.servers import scripted_chat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an experiment and its results of two queries.

    Of each query's six passages d1 and d5 are judged.

    The first stage ranks d0 first, and reverse ranks d5 first.
    """
    tmp_path = tmp_path_factory.mktemp("holes")
    lines = []
    for query_id in ("q1", "q2"):
        hits = [
            {"qid": query_id, "docid": f"d{rank}", "score": 6 - rank, "content": f"worth {rank % 4}"}
            for rank in range(6)
        ]
        lines.append(json.dumps({"query": f"query {query_id}", "hits": hits}))
    (tmp_path / "candidates.jsonl").write_text("\n".join(lines) + "\n")
    qrels = "".join(f"{query_id} 0 d1 3\n{query_id} 0 d5 1\n" for query_id in ("q1", "q2"))
    (tmp_path / "qrels.txt").write_text(qrels)
    experiment = {
        "name": "holes",
        "datasets": {"candidates": "candidates.jsonl", "qrels": "qrels.txt", "name": "holes"},
        "first_stages": "given",
        "depths": 6,
        "rerankers": ["first-stage", "reverse", {"name": "random", "options": {"seed": 1}}],
    }
    path = tmp_path / "holes.yaml"
    path.write_text(json.dumps(experiment))
    run(*load_experiment(path), tmp_path / "results")
    return tmp_path


@pytest.fixture
def results(tmp_path: Path, measured: Path) -> Path:
    """Return a copy of these results, beside a copy of the experiment."""
    return Path(shutil.copytree(measured, tmp_path / "copy")) / "results"


class Grader:
    """What the endpoint writes for a prompt; by default the number that ends the passage."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.write: Callable[[str], str] = lambda prompt: f"##final score: {worth(prompt)}"
        self.url = ""


def worth(prompt: str) -> int:
    """Return the number in the passage of a prompt."""
    [number] = re.findall(r"^Passage: worth (\d)$", prompt, re.MULTILINE)
    return int(number)


@pytest.fixture
def grader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Grader]:
    """Give a real HTTP server that speaks the chat API; a call counts 1,000 and 100 tokens."""
    judge_endpoint = Grader()

    def answer(prompt: str) -> tuple[str, str]:
        judge_endpoint.prompts.append(prompt)
        return judge_endpoint.write(prompt), "stop"

    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with scripted_chat(answer) as judge_endpoint.url:
        yield judge_endpoint
