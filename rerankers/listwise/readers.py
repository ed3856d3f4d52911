"""The answer parsers of published reasoning rerankers: ReasonRank and Rank-K.

Each reader turns any text into a permutation, as `rerankers.listwise.permutation.parse` does for RankGPT's
answers. Where the published code stops with an exception, the answer is malformed here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from rerankers.listwise.permutation import Parsed, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers.interface import Fault

ReaderName = Literal["rankgpt", "reason-rank", "rank-k"]

_THOUGHT_AND_ANSWER = re.compile(r"<think>.*?</think>\s*<answer>(.*?)</answer>", re.DOTALL)
_ANSWER = "<answer>"
_LONGEST_NUMBER = 640  # digits; Python may refuse to read longer ones, and no list is that long


def read_reason_rank(text: str, count: int) -> Parsed:
    """Read the numbers inside the answer's tags, as ReasonRank does (`rank_listwise_os_llm.py`).

    The first thought that an answer follows counts, in any case of letters. Without one, what follows the
    last `<answer>` counts, and without any the whole text: digits inside thoughts then rank as well. A
    character that is a digit without being decimal (a superscript two) makes the whole answer void.
    """
    match = _THOUGHT_AND_ANSWER.search(text.lower())
    answer = match[1] if match else text.rpartition(_ANSWER)[2]
    if any(character.isdigit() and not character.isdecimal() for character in answer):
        return Parsed(tuple(range(count)), {"malformed": 1} if count else {})
    return parse(answer, count)


def read_rank_k(text: str, count: int) -> Parsed:
    """Read the last line, numbers between `>` and `=`, as Rank-K does (`rerank.py`).

    Brackets are dropped, and so are parts that are no number and numbers beyond the list. Zero and negative
    numbers count from the list's end. The first passage named twice ends the reading. Ties keep the order in
    which they are written, and passages that are not named follow in their original order.
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
    missing = [position for position in range(count) if position not in order]
    faults: dict[Fault, int] = {
        "malformed": int(bool(count) and not order),
        "missing": len(missing) if order else 0,
        "duplicate": duplicates,
        "out_of_range": out_of_range,
    }
    return Parsed((*order, *missing), {kind: times for kind, times in faults.items() if times})


def _whole_number(part: str) -> int | None:
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
    "rank-k": read_rank_k,
}
