"""Options of ListT5."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.errors import InputError
from rerankers.listwise.fusion_in_decoder.tournament import tournament
from rerankers.listwise.windows.rounds import run_rounds
from rerankers.methods.loaded import BatchOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.listwise.windows.rounds import Window
    from rerankers.work import RequestSize

_FRAME = 10  # "Query:", "Index:", "Context:", the number and the end token


class ListT5Options(BatchOptions):
    """Options of `listt5`."""

    summary: ClassVar[str] = "a T5 that reads passages apart plays tournaments of five (arXiv 2402.15838)"
    implementation: ClassVar[str] = "rerankers.listwise.fusion_in_decoder.listt5:ListT5"

    winners: int = Field(default=2, ge=1)
    """Passages that go on from a group: the paper's r. 1 is its basic tournament."""

    top: int = Field(default=10, ge=1)
    """Ranks that tournaments settle, one each; the passages behind them keep the first stage's order."""

    group: int = Field(default=5, ge=2)
    """Passages in a group, as the model was trained."""

    dummy_offset: int = Field(default=21, ge=1)
    """A passage that is ranked gives its place to the one so many positions further on, as published."""

    max_prompt_tokens: int = Field(default=256, ge=8)
    """Tokens after which a prompt, the query included, is cut at its end. Published: 256 for MS MARCO, 512 or
    1024 for collections of longer texts."""

    batch_size: int = Field(default=32, ge=1)
    """Most groups in one batch of the decoder, and most requests at work at once."""

    def check(self) -> None:
        """Refuse more winners than a tournament gets along with."""
        super().check()
        if 2 * self.winners > self.group:
            raise InputError(
                f"winners {self.winners}: at most half of a group of {self.group} can go on. Choose "
                f"{self.group // 2} or fewer."
            )

    def work(self, size: RequestSize) -> Work:
        """Return groups and tokens of a typical request; prompts that come again are counted as read."""
        relevance = list(range(size.candidates))
        random.Random(0).shuffle(relevance)  # noqa: S311 - no secret
        rounds: list[list[Window]] = []

        def rank(windows: list[Window]) -> list[list[int]]:
            rounds.append(windows)
            orders = (sorted(window.positions, key=lambda i: -relevance[i]) for window in windows)
            return [order[-window.ranks :] for order, window in zip(orders, windows, strict=True)]

        run_rounds(tournament(size.candidates, self.group, self.winners, self.top, self.dummy_offset), rank)
        groups = sum(map(len, rounds))
        prompt = min(_FRAME + size.query_tokens + size.passage_tokens, self.max_prompt_tokens)
        return Work(
            windows=groups,
            llm_calls=groups,
            sequential_calls=len(rounds),
            prompt_tokens=groups * self.group * prompt,
            generated_tokens=groups * self.group,
            most_generated_tokens=groups * (self.group + 1),
            depends_on_answers=True,
        )
