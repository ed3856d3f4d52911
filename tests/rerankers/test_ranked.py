"""One query is ranked in one call, and its result is read by people and by pandas."""

from __future__ import annotations

import pytest

from rerankers import RankedPassage, create


def test_texts_alone_are_numbered_from_one_and_ranked() -> None:
    ranked = create("reverse").rank("q", ["worst", "middle", "best"])
    assert list(ranked) == [
        RankedPassage(1, "3", 3.0, "best"),
        RankedPassage(2, "2", 2.0, "middle"),
        RankedPassage(3, "1", 1.0, "worst"),
    ]
    assert len(ranked) == 3


def test_texts_by_id_keep_their_ids() -> None:
    assert [row.doc_id for row in create("reverse").rank("q", {"a": "x", "b": "y"})] == ["b", "a"]


def test_options_are_keywords_or_a_mapping() -> None:
    passages = [str(number) for number in range(9)]
    by_keyword = create("random", seed=3).rank("q", passages)
    assert by_keyword.ranking.doc_ids == create("random", {"seed": 3}).rank("q", passages).ranking.doc_ids


def test_no_passages_are_ranked_as_none() -> None:
    assert list(create("first-stage").rank("q", [])) == []


def test_it_prints_as_a_table_whose_lines_a_passage_cannot_break() -> None:
    long = "two\nlines \x1b[31m" + "word " * 40
    head, first = str(create("first-stage").rank("q", {"id": long})).splitlines()
    assert head.split() == ["rank", "score", "doc", "id", "passage"]
    assert first.startswith("   1     1.0000  id      two lines")
    assert "\x1b" not in first
    assert first.endswith("…")
    assert len(first) < 110


def test_it_becomes_a_frame_of_four_columns() -> None:
    pytest.importorskip("pandas")
    frame = create("reverse").rank("q", ["a", "b"]).to_frame()
    assert list(frame.columns) == ["rank", "doc_id", "score", "text"]
    assert frame["text"].tolist() == ["b", "a"]
    assert list(create("reverse").rank("q", []).to_frame().columns) == list(frame.columns)
