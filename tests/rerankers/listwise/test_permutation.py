from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerankers.listwise.permutation import is_decided, parse
from rerankers.listwise.prompts import load_prompt

if TYPE_CHECKING:
    import re
    from pathlib import Path

BRACKETED = load_prompt("rankgpt").id_pattern
# Digits of many scripts (decimal or not), signs that change the direction of writing or have no width, halves
# of a pair that UTF-8 cannot write, and what the parser itself looks for.
ADVERSARIAL = "[]［］>< 0189²①½๓٣۴१𝟙\u200b\u202e\ufeff\ufffd\0\x1b\n\r\u2028\ud800\udfff<think></think>"
LISTED = st.lists(st.integers(-3, 30)).map(lambda ids: " > ".join(f"[{i}]" for i in ids))
ANSWERS = st.one_of(
    st.text(st.characters()),  # any unicode, surrogates among it
    st.text(alphabet=ADVERSARIAL),
    LISTED,
    st.tuples(LISTED, st.text(alphabet=ADVERSARIAL), LISTED).map("".join),
    st.sampled_from(["<think>", "</think>", "PASSAGE", "20 passages have been provided. "]).flatmap(
        lambda words: LISTED.map(lambda ids: words + ids)
    ),
)
NOISE_BYTES = 100_000


def test_parses_are_those_of_the_published_code(golden: Path) -> None:
    cases = json.loads((golden / "rankgpt" / "golden.json").read_text(encoding="utf-8"))["parsing"]
    assert len(cases) == 15
    for case in cases:
        assert list(parse(case["raw"], case["n"]).order) == case["permutation"], case["raw"]


@given(ANSWERS, st.integers(0, 25), st.sampled_from([None, BRACKETED]))
def test_any_text_gives_a_permutation(text: str, count: int, ids: re.Pattern[str] | None) -> None:
    assert sorted(parse(text, count, ids).order) == list(range(count))


@settings(max_examples=60, deadline=None)  # each is a hundred kilobytes, in the nightly profile too
@given(st.text(alphabet=ADVERSARIAL, min_size=1, max_size=40), LISTED, st.sampled_from([None, BRACKETED]))
def test_a_hundred_kilobytes_of_any_noise_give_a_permutation(
    noise: str, answer: str, ids: re.Pattern[str] | None
) -> None:
    text = noise * (NOISE_BYTES // len(noise.encode(errors="surrogatepass")) + 1) + answer
    assert sorted(parse(text, 20, ids).order) == list(range(20))
    is_decided(text, 20, 20)


def test_a_number_of_absurd_length_is_no_passage() -> None:
    assert parse("1" * 641 + " 3", 3).order == (2, 0, 1)
    assert parse("0" * 639 + "2", 3).order == (1, 0, 2)  # as long as a number may be


@pytest.mark.parametrize(
    "text",
    [
        "9" * 100_000,
        "1 " * 50_000,
        "\x00\ufffd[" * 33_000,
        "²" * 100_000,
        "[" + "0" * 700 + "1]",
        "\ud800 [2]",
    ],
)
def test_a_hundred_kilobytes_of_noise_give_a_permutation(text: str) -> None:
    assert sorted(parse(text, 20).order) == list(range(20))
    assert sorted(parse(text, 20, BRACKETED).order) == list(range(20))
    is_decided(text, 20, 20)


@given(ANSWERS, ANSWERS, st.integers(1, 25), st.data())
def test_a_known_start_stays_whatever_follows(text: str, rest: str, count: int, data: st.DataObject) -> None:
    places = data.draw(st.integers(1, count))
    if is_decided(text, count, places):
        assert parse(text + rest, count).order[:places] == parse(text, count).order[:places]


def test_a_number_that_may_still_grow_is_not_known() -> None:
    assert not is_decided("[2] > [1", count=2, places=2)
    assert is_decided("[2] > [1]", count=2, places=2)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[3] > [1] > [2]", {}),
        ("[3] > [1]", {"missing": 1}),
        ("[3] > [3] > [1] > [2] > [3]", {"duplicate": 2}),
        ("[3] > [0] > [1] > [4] > [2]", {"out_of_range": 2}),
        ("I cannot rank these passages.", {"malformed": 1}),
        ("", {"malformed": 1}),
        ("2023 was irrelevant", {"malformed": 1, "out_of_range": 1}),
    ],
)
def test_faults_are_counted_by_kind(text: str, faults: dict[str, int]) -> None:
    assert parse(text, 3).faults == faults


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("20 passages have been provided. [2] > [1]", (1, 0, 2)),
        ("<think>maybe [1] or [2]</think> [3] > [2] > [1]", (2, 1, 0)),
        ("maybe [1] first\n</think>\n\n[3] > [2] > [1]", (2, 1, 0)),
        ("[2] > [1] > [3] <think>or [3]", (1, 0, 2)),
        ("<think>[3] it is, or [2]", (0, 1, 2)),
        ("3 > 2 > 1", (0, 1, 2)),
    ],
)
def test_strict_parsing_counts_only_ids_written_as_asked(text: str, order: tuple[int, ...]) -> None:
    assert parse(text, 3, BRACKETED).order == order
