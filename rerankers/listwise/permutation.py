"""Parses a model's output such as `[2] > [1] > [3]` into a permutation, and counts what had to be repaired.

There are two ways to parse. `reference` is the behaviour of the published code (arXiv 2304.09542,
`receive_permutation`): everything that is not a digit separates numbers; ids count in the order of their
first mention; ids out of range are dropped; passages never mentioned follow in their original order. One
deviation: characters that are digits without being decimal (a superscript two) separate as well, where the
published code stops with an exception. `strict` reads only ids written as the prompt asks, and none inside a
reasoning block, so that "20 passages have been provided" is no vote for passage 20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

    from rerankers.interface import Fault

Parsing = Literal["reference", "strict"]

_NUMBER = re.compile(r"\d+")  # decimal digits of any script
_LONGEST_NUMBER = 640  # digits; Python may refuse to read longer ones, and no list is that long


@dataclass(frozen=True, slots=True)
class Parsed:
    """The ranking parsed from a model output, and its faults.

    An output without any usable id is one `malformed` fault, and its passages are not counted as missing.

    Attributes:
        order: positions (from 0) of all passages, best first.
        faults: how often each kind of fault occurred; empty for a well-formed output.
    """

    order: tuple[int, ...]
    faults: dict[Fault, int] = field(default_factory=dict)

    @classmethod
    def of(cls, named: Collection[int], count: int, duplicates: int, out_of_range: int) -> Parsed:
        """Return the ranking of `count` passages that begins with the named positions; the others follow."""
        missing = [position for position in range(count) if position not in named]
        faults: dict[Fault, int] = {
            "malformed": int(bool(count) and not named),
            "missing": len(missing) if named else 0,
            "duplicate": duplicates,
            "out_of_range": out_of_range,
        }
        return cls((*named, *missing), {kind: times for kind, times in faults.items() if times})

    def without_missing(self, count: int) -> Parsed:
        """Return a copy with `count` fewer missing passages: those that the output need not name."""
        faults = dict(self.faults)
        missing = faults.pop("missing", 0) - count
        if missing > 0:
            faults["missing"] = missing
        return Parsed(self.order, faults)


def parse(text: str, count: int, ids: re.Pattern[str] | None = None) -> Parsed:
    """Parse a model output into a ranking of `count` passages with ids 1 to `count`.

    Any text gives a permutation.

    Args:
        text: the model output.
        count: how many passages the prompt shows.
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
    return Parsed.of(order, count, duplicates, out_of_range)


def is_decided(text: str, count: int, places: int) -> bool:
    """Return whether the first `places` ranks of a growing model output are final, parsed as `reference`.

    A number at the very end of the text may still grow another digit, so it does not count yet.

    Args:
        text: the output so far.
        count: how many passages the prompt shows.
        places: ranks that the caller reads.
    """
    end = len(text)
    while end and text[end - 1].isdecimal():
        end -= 1
    mentioned = {_position(number) for number in _NUMBER.findall(text[:end])}
    return sum(0 <= position < count for position in mentioned) >= places


def _position(number: str) -> int:
    """Return the position (from 0) of an id written in digits; -1 if it is absurdly long."""
    return int(number) - 1 if len(number) <= _LONGEST_NUMBER else -1


def _without_reasoning(text: str) -> str:
    """Return the text behind the last `</think>`, up to any `<think>` that follows."""
    return text.rpartition("</think>")[2].partition("<think>")[0]
