"""Options of FIRST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rerankers.listwise.prompts import load_prompt
from rerankers.listwise.windows.plan import WindowPlan
from rerankers.llm.adapter_base import loaded_models
from rerankers.methods.listwise.prompt_tokens import prompt_tokens
from rerankers.methods.loaded import PassOptions
from rerankers.methods.windows import LetterWindowOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class FirstOptions(LetterWindowOptions, PassOptions):
    """Options of `first`."""

    summary: ClassVar[str] = "one forward pass orders a window by letters' logits (arXiv 2406.15657)"
    implementation: ClassVar[str] = "rerankers.listwise.first:First"

    top: int | None = Field(default=None, ge=1)
    """Ranks that sorts settle; ten if null. Sliding windows settle all."""

    batch_size: int = Field(default=8, ge=1)
    """Most windows of a round in one forward pass."""

    passage_words: int = Field(default=300, ge=1)
    """Passages are cut after this many words."""

    template_variables: dict[str, Any] = Field(default_factory=dict)
    """The chat template's own variables, such as `{enable_thinking: false}`."""

    @property
    def models(self) -> tuple[tuple[str, str | None], ...]:
        """The model, and an adapter's base model."""
        return loaded_models(self.model, self.revision)

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each window is one forward pass over its passages."""
        rounds = WindowPlan(self, self.top).expected(size.candidates)
        passage_counts = [len(window.positions) for windows in rounds for window in windows]
        passage = min(size.passage_tokens, self.passage_words * size.tokens_per_word)
        return Work(
            windows=len(passage_counts),
            llm_calls=len(passage_counts),
            sequential_calls=len(rounds),
            prompt_tokens=prompt_tokens(load_prompt("first"), size, passage_counts, passage),
            depends_on_answers=not self.slides,
        )
