"""Alignment data: every passage is asked for once, with one placeholder, and the trainer reads it back."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import TYPE_CHECKING

import pytest

from benchmarks.cli.commands.training.align_data import ALIGN_DATA
from benchmarks.training_data.alignment import phrasings
from rerankers.errors import InputError
from rerankers.pe_rank.prompt import PLACEHOLDER
from rerankers.training.data.records import read_alignment

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, *arguments: str) -> Path:
    texts = [f"passage number {number} says something" for number in range(20)] + [f"a {PLACEHOLDER}"]
    rows = [json.dumps({"_id": f"d{number}", "text": text}) for number, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "a query"}', encoding="utf-8")
    parser = ArgumentParser()
    assert ALIGN_DATA.add_arguments is not None
    assert ALIGN_DATA.run is not None
    ALIGN_DATA.add_arguments(parser)
    out = folder / "alignment.jsonl"
    assert ALIGN_DATA.run(parser.parse_args([str(folder), "--out", str(out), *arguments])) == 0
    return out


def test_each_passage_is_the_answer_to_its_own_embedding(tmp_path: Path) -> None:
    records = read_alignment(run(tmp_path))
    assert len(records) == 20  # the passage that holds a placeholder itself is left out
    assert len({record.extra_texts for record in records}) == 20
    for record in records:
        assert record.messages[-1]["content"] == record.extra_texts[0]


def test_a_limit_draws_passages_the_same_for_a_seed_and_words_are_cut(tmp_path: Path) -> None:
    first = run(tmp_path, "--limit", "5", "--words", "3").read_bytes()
    records = read_alignment(tmp_path / "alignment.jsonl")
    assert len(records) in {4, 5}  # the passage left out may be among those drawn
    assert all(len(record.extra_texts[0].split()) == 3 for record in records)
    assert run(tmp_path, "--limit", "5", "--words", "3").read_bytes() == first
    assert run(tmp_path, "--limit", "5", "--words", "3", "--seed", "1").read_bytes() != first


def test_every_phrasing_has_one_slot_and_is_used(tmp_path: Path) -> None:
    assert all(request.count(PLACEHOLDER) == 1 for request in phrasings())
    phrasings_used = {record.messages[0]["content"] for record in read_alignment(run(tmp_path))}
    assert phrasings_used <= set(phrasings())
    assert len(phrasings_used) > 3


@pytest.mark.parametrize("wrong", [("--limit", "0"), ("--words", "-1")])
def test_a_number_that_is_not_positive_is_refused(tmp_path: Path, wrong: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="positive number"):
        run(tmp_path, *wrong)
