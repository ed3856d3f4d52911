"""Passages are cut after about as much content in every script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankers.interface import Usage
from rerankers.listwise.prompts import passage_words
from rerankers.text.labels import cut_passages
from rerankers.text.words import split_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers import RerankRequest


@given(st.text())
def test_no_character_is_lost_or_added(text: str) -> None:
    assert "".join(split_words(text)) == " ".join(text.split())


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=80), st.integers(0, 12))
def test_latin_text_is_cut_where_its_spaces_are(text: str, count: int) -> None:
    assert "".join(split_words(text)[:count]) == " ".join(text.split()[:count])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("蜜蜂在冬天不飞行。", 4),  # 8 characters, 2 a word
        ("ミツバチは冬に飛ばない", 6),  # 11 characters, 2 a word
        ("ผึ้งไม่บินในฤดูหนาว", 4),  # 14 letters, 4 a word, vowel and tone marks not counted
        ("សត្វឃ្មុំ", 2),  # 6 letters, 4 a word
        ("ပျားများ", 1),  # 4 letters
        ("ผึ้ง bees 蜜蜂", 3),
        ("买iPhone手机", 3),
        ("state-of-the-art (reranking), 40 %", 4),
        ("벌은 겨울에 날지 않는다", 4),  # Korean has spaces
        ("Пчёлы не летают", 3),
        ("", 0),
    ],
)
def test_scripts_without_spaces_count_characters(text: str, words: int) -> None:
    assert len(split_words(text)) == words


def test_marks_stay_with_their_letter_where_text_is_cut() -> None:
    text = "ผึ้งไม่บิน" * 50
    for word in split_words(text):
        assert word[0].isalnum()  # no word begins with a mark


def test_a_chinese_passage_is_cut_by_every_listwise_prompt(
    make_request: Callable[..., RerankRequest],
) -> None:
    text = "蜜" * 1500
    words = passage_words(text)
    assert "".join(words[:300]) == "蜜" * 600  # 300 words of two characters
    usage = Usage()
    assert cut_passages(make_request("bees", [text]), 100, usage) == ["蜜" * 200]
    assert usage.passages_truncated == 1
