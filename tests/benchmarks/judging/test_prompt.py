"""Grades are read as the prompt asks for them, and nothing else is taken for a grade."""

from __future__ import annotations

import pytest

from benchmarks.judging.prompt import fault_of, read_grade, states_grade, umbrela
from rerankers.chat.conversation import ChatCompletion


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("##final score: 2", 2),
        ("final score: **3**", 3),
        ("Final Score (O): 1\n", 1),
        ('{"M": 2, "T": 1, "O": 0}', 0),
        ('{"final_score": 3}', 3),
        ("M: 3\nT: 2\nO: 1", 1),
        ("M: 3, T: 2, overall score: 2", 2),
        ("The passage falls into the category 1.", 1),
        ("2", 2),
        (" **3** ", 3),
        ("##final score: 2\nQuery: another\n##final score: 0", 2),
        ("##final score: score", None),
        ("##final score: 4", None),
        ("##final score: 2.5", None),
        ("##final score: 30", None),
        ("##final score: 2/10", None),
        ("I would give 2 of 3 points", None),
        ("", None),
    ],
)
def test_the_grade_is_the_final_score_and_nothing_else(text: str, grade: int | None) -> None:
    assert read_grade(text) == grade


def test_a_growing_output_is_ended_when_its_final_score_cannot_change() -> None:
    assert not states_grade("##final score: 2")  # 2.5 may follow
    assert states_grade("##final score: 2\n")
    assert not states_grade("category 2 ")


def test_faults_say_why_there_is_no_grade() -> None:
    assert fault_of(ChatCompletion("##final score: 2")) == ""
    assert fault_of(ChatCompletion("hm")) == "malformed"
    assert fault_of(ChatCompletion("hm", "cut_off")) == "cut_off"
    assert fault_of(ChatCompletion("", "refused")) == "refused"


def test_braces_in_texts_are_text() -> None:
    [message] = umbrela().messages("{passage}", "{query} {0}")
    assert "\nQuery: {passage}\nPassage: {query} {0}\n" in message["content"]
