"""ListT5: a fusion-in-decoder T5 orders groups of five, and tournaments order the list (arXiv 2402.15838).

Each passage of a group has a prompt of its own, with its number; the decoder writes the numbers, the most
relevant last. Prompts, cuts, tournaments and answers are those of the published code. Its groups of one stage
are ranked side by side here, and a prompt that comes again in a later group is not read again. Deviation: an
answer that names a number beyond the group, at which the published code stops with an exception, is read
without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.listwise.fusion_in_decoder.base import FusionInDecoderReranker
from rerankers.listwise.fusion_in_decoder.tournament import tournament

if TYPE_CHECKING:
    from rerankers.interface import Usage
    from rerankers.listwise.windows import Rounds, Window
    from rerankers.methods.listwise.listt5 import ListT5Options

_SOURCE = "soyoung97/ListT5, run_listt5.py"
RENAMED = {r"^encoder\.encoder\.": "encoder.", r"^(encoder\.block\.\d+)\.module\.": r"\1."}
"""Names of weights that the published class wraps around the encoder and its blocks."""


class ListT5(FusionInDecoderReranker):
    """A listwise reranker that ranks by tournaments, whose groups of five a fusion-in-decoder T5 orders.

    Raises:
        ModelError: the model does not load, or is not a T5.
    """

    def __init__(self, options: ListT5Options) -> None:
        self._options = options
        super().__init__(options, _SOURCE, RENAMED)

    def prompt(self, query: str, number: int, passage: str) -> str:
        """Return the prompt of one passage: the query, the passage's number and its text."""
        return f"Query: {query}, Index: {number}, Context: {passage.strip()}"

    def rounds(self, count: int, query_id: str) -> Rounds:
        """Return the tournaments for `count` candidates, as a window policy."""
        options = self._options
        return tournament(count, options.group, options.winners, options.top, options.dummy_offset)

    def longest_answer(self, count: int) -> int:
        """Return the most tokens of an answer: one for each passage and one for the end."""
        return count + 1

    def is_over(self, window: Window, text: str) -> bool:
        """Return False: an answer is read to its end, since the best passage comes last."""
        return False

    def read(self, window: Window, text: str, usage: Usage, *, is_cut: bool) -> list[int]:
        """Return the candidate positions that the last numbers of an answer name, the best last.

        As many numbers are read as the window has ranks. An answer that is not made of numbers counts as a
        vote for the first passage, as published.
        """
        count, ranks = len(window.positions), window.ranks
        numbers = _numbers(text.split(" ")[-ranks:])
        whole = _numbers(text.split(" "))
        is_well_formed = whole is not None and sorted(whole) == list(range(1, count + 1))
        usage.well_formed += is_well_formed
        if numbers is None:
            usage.fault("malformed")
            numbers = [1] * ranks
        elif whole is not None and not is_well_formed:
            usage.fault("out_of_range", sum(not 0 <= number <= count for number in whole))
            usage.fault("duplicate", len(whole) - len(set(whole)))
            usage.fault("missing", len(set(range(1, count + 1)) - set(whole)))
        named = [window.positions[number - 1] for number in numbers if 0 <= number <= count]
        return named or window.positions[-ranks:]


def _numbers(words: list[str]) -> list[int] | None:
    """Return the words as integers; None if one of them is not."""
    try:
        return [int(word) for word in words]
    except ValueError:
        return None
