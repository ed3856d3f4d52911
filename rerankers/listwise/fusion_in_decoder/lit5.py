"""LiT5-Distill: a fusion-in-decoder T5 writes the order of a window (arXiv 2312.16098, section 3.2).

Each passage of a window has a prompt of its own: the query, the passage with its number in the window, and
"Relevance Ranking:". The decoder attends to all of them and writes `[4] > [2] > ...`, which is read as
RankGPT's answers are. Prompts, cuts and parsing are those of the published code; under
`window_policy: sliding-reference` the windows are, too. Deviations: windows are clipped at the head of the
list by default (see `rerankers.listwise.windows`), a short list gets no empty passages to fill a window, and
an answer ends once the ranks that the policy reads are written, after which nothing can change them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.listwise.fusion_in_decoder.base import FusionInDecoderReranker
from rerankers.listwise.permutation import is_decided, parse
from rerankers.listwise.windows import WindowPlan
from rerankers.methods.listwise.lit5 import PROMPT

if TYPE_CHECKING:
    from rerankers.interface import Usage
    from rerankers.listwise.windows import Rounds, Window
    from rerankers.methods.listwise.lit5 import LiT5Options

_SOURCE = "castorini/LiT5, FiD/LiT5-Distill.py"


class LiT5(FusionInDecoderReranker):
    """A listwise reranker that reads the permutation a fusion-in-decoder T5 writes for a window.

    Raises:
        ModelError: the model does not load, or is not a T5.
    """

    def __init__(self, options: LiT5Options) -> None:
        self._options = options
        self._plan = WindowPlan(options, options.top, options.passes)
        super().__init__(options, _SOURCE)

    def prompt(self, query: str, number: int, passage: str) -> str:
        """Return the prompt of one passage: the query, the numbered passage and the request for a ranking."""
        return PROMPT.format(query=query, number=number, passage=passage)

    def rounds(self, count: int, query_id: str) -> Rounds:
        """Return the window policy that the options name, for `count` candidates."""
        return self._plan.rounds(count, query_id)

    def longest_answer(self, count: int) -> int:
        """Return the most tokens of an answer: the option's limit,
        else a full permutation's characters as tokens.
        """
        return self._options.answer_limit(count)

    def is_over(self, window: Window, text: str) -> bool:
        """Return whether `text` names all the ranks of the window that the policy reads."""
        return is_decided(text, len(window.positions), window.ranks)

    def read(self, window: Window, text: str, usage: Usage, *, is_cut: bool) -> list[int]:
        """Return a window's candidate positions in the order that `text` gives, parsed as RankGPT's.

        Count its faults.
        """
        parsed = parse(text, len(window.positions))
        faults = dict(parsed.faults)
        if self.is_over(window, text):
            faults.pop("missing", None)  # the answer was ended here
        for kind, times in faults.items():
            usage.fault(kind, times)
        usage.well_formed += not faults
        if is_cut and ("missing" in faults or "malformed" in faults):
            usage.fault("cut_off")
        return [window.positions[position] for position in parsed.order]
