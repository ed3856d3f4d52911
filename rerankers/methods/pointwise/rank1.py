"""Options of Rank1."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.methods.loaded import PassOptions
from rerankers.pointwise.prompts import ReasoningPrompt, prompt_named
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class Rank1Options(PassOptions):
    """Options of `rank1`."""

    summary: ClassVar[str] = (
        "a reasoning model thinks about each passage, then says true or false (arXiv 2502.18418)"
    )
    implementation: ClassVar[str] = "rerankers.pointwise.rank1:Rank1"

    reasoning_tokens: int = Field(default=8192, ge=0)
    """Tokens that the model may think about a passage; then it has to say true or false."""

    instruction: str | None = None
    """Follows the query, after a space; it comes before the dataset's instruction."""

    query_prompt: str | None = None
    """A text that takes the query's place; `FILL_QUERY_HERE` in it stands for the query."""

    max_passage_tokens: int | None = Field(default=None, ge=1)
    """A passage is cut after this many tokens. Null: what the model's context leaves."""

    batch_size: int = Field(default=16, ge=1)
    """Passages that are thought about in one batch."""

    @property
    def reads_instruction(self) -> bool:
        """True if a dataset's instruction is read: the option comes before it."""
        return self.instruction is None

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: one call a passage; a second one only ends thoughts beyond the budget."""
        frame = size.tokens_of(prompt_named(ReasoningPrompt, "published").text)
        frame += size.tokens_of(f"{self.instruction or ''} {self.query_prompt or ''}")
        passage = min(size.passage_tokens, self.max_passage_tokens or size.passage_tokens)
        thoughts = size.candidates * self.reasoning_tokens  # a budget, of which a model may use less
        return Work(
            llm_calls=size.candidates,
            sequential_calls=bool(size.candidates),
            prompt_tokens=size.candidates * (frame + size.query_tokens + passage),
            generated_tokens=thoughts,
            most_generated_tokens=thoughts,
            depends_on_answers=True,
        )
