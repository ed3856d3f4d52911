"""From what a model wrote to a permutation, and what had to be repaired on the way.

Two ways to read an answer. `reference` is the behaviour (arXiv 2304.09542, `receive_permutation` of
its code): everything that is not a digit separates numbers; ids count in the order of their first mention;
ids out of range are dropped; passages never mentioned follow in their original order. One deviation:
characters that are digits without being decimal (a superscript two) separate as well, where the published
code stops with an exception. `strict` reads only ids written as the prompt asks, and none inside a reasoning
block, so that "20 passages have been provided" is no vote for passage 20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rerankers.interface import Fault

Parsing = Literal["reference", "strict"]

_NUMBER = re.compile(r"\d+")  # decimal digits of any script
_LONGEST_NUMBER = 640  # digits; Python may refuse to read longer ones, and no list is that long


@dataclass(frozen=True, slots=True)
class Parsed:
    """Positions (0-based), best first, and the faults of the answer by kind; none if it was well-formed.

    An answer without any usable id is one `malformed` fault, and its passages are not counted as missing.
    """

    order: tuple[int, ...]
    faults: dict[Fault, int] = field(default_factory=dict)

    def without_missing(self, count: int) -> Parsed:
        """Return the same with `count` passages fewer missing: those that the answer need not name."""
        faults = dict(self.faults)
        missing = faults.pop("missing", 0) - count
        if missing > 0:
            faults["missing"] = missing
        return Parsed(self.order, faults)


def parse(text: str, count: int, ids: re.Pattern[str] | None = None) -> Parsed:
    """Read a ranking of `count` passages, ids 1 to `count`. Any text gives a permutation.

    Args:
        text: what the model wrote.
        count: how many passages it was shown.
        ids: `strict`: how ids are written, the number in group 1. None: `reference`.
    """
    order: dict[int, None] = {}
    duplicates = out_of_range = 0
    numbers = _NUMBER.findall(text) if ids is None else ids.findall(_without_reasoning(text))
    for position in map(_position, numbers):
        if not 0 <= position < count:
            out_of_range += 1
        elif position in order:
            duplicates += 1
        else:
            order[position] = None
    missing = [position for position in range(count) if position not in order]
    faults: dict[Fault, int] = {
        "malformed": int(bool(count) and not order),
        "missing": len(missing) if order else 0,
        "duplicate": duplicates,
        "out_of_range": out_of_range,
    }
    return Parsed((*order, *missing), {kind: times for kind, times in faults.items() if times})


def is_known(text: str, count: int, places: int) -> bool:
    """Return whether every continuation of `text` leaves the first `places` of its
    `reference` ranking unchanged.

    A number at the very end of the text may still grow another digit, so it does not count yet.
    """
    end = len(text)
    while end and text[end - 1].isdecimal():
        end -= 1
    mentioned = {_position(number) for number in _NUMBER.findall(text[:end])}
    return sum(0 <= position < count for position in mentioned) >= places


def _position(number: str) -> int:
    """Return 0-based position of an id; -1 for a number of absurd length."""
    return int(number) - 1 if len(number) <= _LONGEST_NUMBER else -1


def _without_reasoning(text: str) -> str:
    """Return the text behind the last reasoning block; an empty one if the answer ends inside a block."""
    return text.rpartition("</think>")[2].partition("<think>")[0]
