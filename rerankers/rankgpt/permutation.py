"""From what a model wrote to a permutation, and what had to be repaired on the way.

The published behaviour (arXiv 2304.09542, `receive_permutation` of its code): everything that is not a digit
separates numbers; ids count in the order of their first mention; ids out of range are dropped; passages never
mentioned follow in their original order. One deviation: characters that are digits without being decimal
(a superscript two) separate as well, where the published code stops with an exception.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rerankers.interface import Fault

_NUMBER = re.compile(r"\d+")  # decimal digits of any script
_LONGEST_NUMBER = 640  # digits; Python may refuse to read longer ones, and no list is that long


@dataclass(frozen=True, slots=True)
class Parsed:
    """Positions (0-based), best first, and the faults of the answer by kind; none if it was well-formed.

    An answer without any usable id is one `malformed` fault, and its passages are not counted as missing.
    """

    order: tuple[int, ...]
    faults: dict[Fault, int] = field(default_factory=dict)


def parse(text: str, count: int) -> Parsed:
    """Read a ranking of `count` passages, ids 1 to `count`. Any text gives a permutation."""
    order: dict[int, None] = {}
    duplicates = out_of_range = 0
    for position in _mentions(text):
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
    """Whether whatever follows `text` leaves the first `places` places of its ranking as they are.

    A number at the very end of the text may still grow another digit, so it does not count yet.
    """
    end = len(text)
    while end and text[end - 1].isdecimal():
        end -= 1
    return len({position for position in _mentions(text[:end]) if 0 <= position < count}) >= places


def _mentions(text: str) -> list[int]:
    """Ids in the text as 0-based positions; -1 for a number of absurd length."""
    numbers = _NUMBER.findall(text)
    return [int(number) - 1 if len(number) <= _LONGEST_NUMBER else -1 for number in numbers]
