"""Options of LiT5-Distill."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.errors import InputError
from rerankers.listwise.windows.plan import WindowPlan
from rerankers.methods.loaded import BatchOptions
from rerankers.methods.windows import WindowOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize

PROMPT = "Search Query: {query} Passage: [{number}] {passage} Relevance Ranking: "
ID_TOKENS = 5
"""Of a rank in the answer: `[12] > `."""


class LiT5Options(WindowOptions, BatchOptions):
    """Options of `lit5`."""

    summary: ClassVar[str] = (
        "a T5 that reads passages apart writes their order (LiT5-Distill, arXiv 2312.16098)"
    )
    implementation: ClassVar[str] = "rerankers.listwise.fusion_in_decoder.lit5:LiT5"

    model: str
    """Hub id or folder of a LiT5-Distill checkpoint. The v2 checkpoints take up to 100 passages a call:
    `window: 100`."""

    top: int | None = Field(default=None, ge=1)
    """Ranks that must be exact; an answer ends as soon as all that can reach them is written. The model is
    greedy, so these ranks are those of full answers. Null: all, or ten in a sort."""

    passes: int = Field(default=1, ge=1)
    """How often sliding windows go over the list."""

    max_prompt_tokens: int = Field(default=150, ge=8)
    """Tokens after which a prompt, the query included, is cut at its end, as published."""

    max_new_tokens: int | None = Field(default=None, ge=1)
    """Longest answer; null is one token for each character of a full answer."""

    batch_size: int = Field(default=16, ge=1)
    """Most windows in one batch of the decoder, and most requests at work at once."""

    def check(self) -> None:
        """Refuse passes over windows that do not slide."""
        super().check()
        if self.passes > 1 and not self.slides:
            raise InputError(
                f"passes {self.passes}: only sliding windows go over the list more than once. "
                "Leave passes out, or use window_policy: sliding."
            )

    def answer_limit(self, passages: int) -> int:
        """Return the most tokens of an answer that orders so many passages."""
        return self.max_new_tokens or len(" > ".join(f"[{number}]" for number in range(1, passages + 1)))

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each window is a call, with a prompt for each of its passages."""
        rounds = WindowPlan(self, self.top, self.passes).expected(size.candidates)
        counts = [len(window.positions) for windows in rounds for window in windows]
        prompt = size.tokens_of(PROMPT) + size.query_tokens + size.passage_tokens
        return Work(
            windows=len(counts),
            llm_calls=len(counts),
            sequential_calls=len(rounds),
            prompt_tokens=sum(counts) * min(prompt, self.max_prompt_tokens),
            generated_tokens=sum(counts) * ID_TOKENS,
            most_generated_tokens=sum(map(self.answer_limit, counts)),
            depends_on_answers=not self.slides,
        )
