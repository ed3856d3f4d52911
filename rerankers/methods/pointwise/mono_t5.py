"""Options of monoT5."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.methods.loaded import BatchOptions
from rerankers.pointwise.prompts import MonoT5Prompt, prompt_named
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class MonoT5Options(BatchOptions):
    """Options of `mono-t5`."""

    summary: ClassVar[str] = "log-probability that T5 answers true (arXiv 2003.06713)"
    implementation: ClassVar[str] = "rerankers.pointwise.mono_t5:MonoT5"

    prompt: str = "monot5"
    """Name of a prompt template in `prompts.toml`, which names the two answers too."""

    max_passage_tokens: int = Field(default=448, ge=1)
    """A passage is cut after this many tokens."""

    def check(self) -> None:
        """Refuse a prompt that is unknown."""
        super().check()
        prompt_named(MonoT5Prompt, self.prompt)

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each passage is read once with the query."""
        frame = size.tokens_of(prompt_named(MonoT5Prompt, self.prompt).text)
        passage = min(size.passage_tokens, self.max_passage_tokens)
        return Work(prompt_tokens=size.candidates * (frame + size.query_tokens + passage))
