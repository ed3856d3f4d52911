"""A small collection without training queries, and a chat endpoint that answers with scripted questions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import scripted_chat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ABSTRACTS = {
    "d0": ("Sorting by Merging Runs", "runs of sorted items are merged"),
    "d1": ("Paging in Virtual Memory", "pages are fetched on demand"),
    "d2": ("sorting by merging runs!", "a second paper of nearly the same name"),
    "d3": ("Deadlock", "processes wait for one another"),
    "d4": ("Garbage Collection of Linked Lists", "cells are marked and swept"),
    "d5": ("", "a note without a title"),
    "d6": ("Parsing of Context-Free Languages in Cubic Time", "a table is filled"),
    "d8": ("", ""),
    "d7": ("Hashing with Open Addressing", "collisions are resolved by probing"),
}
TEST_QUERY = "context free languages: parsing of, in cubic time"
"""Its words are those of a title in another order."""


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Return a folder `abstracts` with passages alone, and settings that take their titles as queries."""
    (tmp_path / "abstracts").mkdir()
    rows = [
        json.dumps({"_id": doc_id, "title": title, "text": text})
        for doc_id, (title, text) in ABSTRACTS.items()
    ]
    (tmp_path / "abstracts" / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def judge() -> Callable[[Path, str], None]:
    """Return a function that adds a query and its judgement to a collection, as the split of that name."""

    def add(folder: Path, split: str, query_id: str = "t1", text: str = TEST_QUERY) -> None:
        (folder / "abstracts" / "qrels").mkdir(exist_ok=True)
        with (folder / "abstracts" / "queries.jsonl").open("a") as file:
            file.write(json.dumps({"_id": query_id, "text": text}) + "\n")
        lines = f"query-id\tcorpus-id\tscore\n{query_id}\td6\t1\n"
        (folder / "abstracts" / "qrels" / f"{split}.tsv").write_text(lines)

    return add


@pytest.fixture
def write_settings(collection: Path, tiny_encoder: str) -> Callable[..., Path]:
    """Write the settings of a distillation with a dense first stage; keywords replace its keys."""

    def write(**changes: Any) -> Path:
        content = {
            "dataset": "./abstracts",
            "queries": "titles",
            "first_stage": {"kind": "dense", "encoder": tiny_encoder},
            "candidates": {"depth": 5, "per_list": 4},
            "teacher": "reverse",
            **changes,
        }
        path = collection / "distill.yaml"
        path.write_text(json.dumps(content))  # which is YAML too
        return path

    return write


class ChatEndpoint:
    """What the endpoint answers to a prompt, and the prompts that it was sent."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.answer: Callable[[str], tuple[str, str]] = lambda prompt: ("which question is this?", "stop")
        self.url = ""


@pytest.fixture
def chat_endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatEndpoint]:
    """Give a real HTTP server that speaks the chat API; a call counts 1,000 and 100 tokens."""
    endpoint = ChatEndpoint()

    def answer(prompt: str) -> tuple[str, str]:
        endpoint.prompts.append(prompt)
        return endpoint.answer(prompt)

    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with scripted_chat(answer) as endpoint.url:
        yield endpoint
