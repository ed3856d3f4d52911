"""Parsers for the model outputs of ReasonRank, Rank-K and TourRank.

Each parser turns any text into a permutation, as `rerankers.listwise.permutation.parse` does for RankGPT.
Where the published code stops with an exception, the output is malformed here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from rerankers.listwise.permutation import Parsed, parse

if TYPE_CHECKING:
    from collections.abc import Callable

ReaderName = Literal["rankgpt", "reason-rank", "whole-answer", "rank-k", "tour-rank"]

_THOUGHT_AND_ANSWER = re.compile(r"<think>.*?</think>\s*<answer>(.*?)</answer>", re.DOTALL)
_ANSWER = "<answer>"
_LONGEST_NUMBER = 640  # digits; Python may refuse to read longer ones, and no list is that long


def read_reason_rank(text: str, count: int) -> Parsed:
    """Parse the numbers inside the `<answer>` tags into a ranking of `count` passages, as ReasonRank does.

    The first thought that an answer follows counts, in any case of letters. Without one, the text behind the
    last `<answer>` counts, and without any the whole text: digits inside thoughts then rank as well. A
    character that is a digit without being decimal (a superscript two) makes the whole output void
    (`rank_listwise_os_llm.py`).
    """
    match = _THOUGHT_AND_ANSWER.search(text.lower())
    return read_whole_answer(match[1] if match else text.rpartition(_ANSWER)[2], count)


def read_whole_answer(text: str, count: int) -> Parsed:
    """Parse the numbers of the whole text into a ranking of `count` passages (ReasonRank's baselines).

    A character that is a digit without being decimal makes the output void.
    """
    if any(character.isdigit() and not character.isdecimal() for character in text):
        return Parsed(tuple(range(count)), {"malformed": 1} if count else {})
    return parse(text, count)


def read_rank_k(text: str, count: int) -> Parsed:
    """Parse the last line, numbers between `>` and `=`, into a ranking of `count` passages, as Rank-K does.

    Brackets are dropped, and so are parts that are not a number and numbers beyond the list. Zero and
    negative numbers count from the list's end. The first passage named twice ends the parsing. Ties keep the
    order in which they are written, and passages that are not named follow in their original order
    (`rerank.py`).
    """
    order: dict[int, None] = {}
    out_of_range = duplicates = 0
    lines = text.strip().splitlines()
    for part in re.split("[>=]", lines[-1]) if lines else []:
        number = _whole_number(part)
        if number is None:
            continue
        position = number - 1 if number > 0 else count + number - 1
        if not 0 <= position < count:
            out_of_range += 1
            continue
        out_of_range += number <= 0
        if position in order:
            duplicates += 1
            break
        order[position] = None
    return Parsed.of(order, count, duplicates, out_of_range)


def read_tour_rank(text: str, count: int) -> Parsed:
    """Parse TourRank's selection of passages into a ranking of `count`: the selected ones come first.

    The last line that says `Document` counts: the part behind its last colon, up to the first full stop,
    split at commas. The last word of a part is a number. Numbers from zero down count from the end of the
    list. A part that ends in no number stands for the first number from 1 that is not taken yet, which the
    published code then reads as a position from 0. Where that code stops with an exception (no such line, or
    a number beyond the list), the output is malformed here. A passage selected twice counts once.
    """
    lines = [line for line in text.split("\n") if "Document" in line]
    selected: list[int] = []
    is_void, out_of_range = not lines, 0
    for part in lines[-1].split(":")[-1].split(".")[0].split(",") if lines else []:
        if not part.split():
            continue
        number = _whole_number(part.split()[-1])
        if number is None:
            position = next(i for i in range(1, len(selected) + 2) if i not in selected)
        else:
            position = number - 1
            out_of_range += number < 1
        is_void = is_void or not -count <= position < count
        selected.append(position)
    if is_void:
        return Parsed(tuple(range(count)), {"malformed": 1} if count else {})
    order = dict.fromkeys(position % count for position in selected)
    return Parsed.of(order, count, len(selected) - len(order), out_of_range)


def _whole_number(part: str) -> int | None:
    """Return a text without brackets as a whole number; None if it is none."""
    written = part.replace("[", "").replace("]", "").strip()
    if len(written) > _LONGEST_NUMBER:
        return None
    try:
        return int(written)
    except ValueError:
        return None


READERS: dict[ReaderName, Callable[[str, int], Parsed]] = {
    "rankgpt": parse,
    "reason-rank": read_reason_rank,
    "whole-answer": read_whole_answer,
    "rank-k": read_rank_k,
    "tour-rank": read_tour_rank,
}
