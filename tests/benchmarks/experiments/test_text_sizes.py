"""Estimates before a run are made from the texts at hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.executors.local import run
from benchmarks.experiments.config import load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.experiments.text_sizes import estimated_tokens, request_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONG = "The bicycle has two wheels and a bell, and its rider sits between them on a saddle. " * 20


def with_texts(path: Path, text: str) -> None:
    """Give every passage of an experiment's candidates one text."""
    hits = path.with_name("hits.jsonl")
    rows: list[dict[str, Any]] = [json.loads(line) for line in hits.read_text().splitlines()]
    for row in rows:
        for hit in row["hits"]:
            hit["content"] = text
    hits.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_an_english_passage_of_ms_marco_length_has_its_tokens() -> None:
    passage = "words have six letters " * 14  # 56 words, 322 characters
    assert estimated_tokens(passage) == pytest.approx(75, rel=0.08)


def test_other_scripts_take_more_tokens_a_character() -> None:
    assert estimated_tokens("自転車") == 3
    assert estimated_tokens("велосипед") > 2 * estimated_tokens("bicycle x")


def test_long_passages_are_estimated_as_long_as_they_are_before_and_after_they_are_frozen(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment(rerankers="reverse")
    with_texts(path, LONG)
    experiment, config = load_experiment(path)
    [cell] = plan(experiment)
    before = request_size(cell.pool, tmp_path / "out")
    assert before.candidates == 4
    assert before.passage_tokens == pytest.approx(estimated_tokens(LONG))
    assert before.tokens_per_word == pytest.approx(1.15, abs=0.3)
    limited, _ = load_experiment(path, ["limit=1"])
    assert run(limited, config, tmp_path / "out").exit_status == 0
    assert request_size(cell.pool, tmp_path / "out").passage_tokens == pytest.approx(before.passage_tokens)


def test_a_dataset_that_is_elsewhere_has_the_length_of_ms_marco(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_experiment(datasets="msmarco-passage/trec-dl-2019/judged", first_stages="bm25")
    experiment, _ = load_experiment(path)
    [cell, *_] = plan(experiment)
    assert request_size(cell.pool, tmp_path / "out").passage_tokens == 75
