"""Options of jina-reranker-v3."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.listwise.jina_v3_prompt import prompt_text
from rerankers.listwise.windows.initial import InitialOrder
from rerankers.methods.loaded import BatchOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class JinaV3Options(BatchOptions):
    """Options of `jina-v3`."""

    summary: ClassVar[str] = (
        "embeddings of query and passages from one prompt (jina-reranker-v3, arXiv 2509.25085)"
    )
    implementation: ClassVar[str] = "rerankers.listwise.jina_v3:JinaV3"

    block_passages: int = Field(default=125, ge=1)
    """Most passages in one prompt."""

    max_query_tokens: int = Field(default=512, ge=1)
    """Queries are cut after this many tokens."""

    max_passage_tokens: int = Field(default=2048, ge=1)
    """Passages are cut after this many tokens."""

    context: int | None = Field(default=None, ge=1)
    """A block also ends once fewer than `max_passage_tokens` of so many tokens are left; null is the
    tokenizer's own limit."""

    instruction: str | None = None
    """A sentence that the prompt hands on to the model; null for none."""

    initial_order: InitialOrder = "given"
    """The order shown: `given`, `shuffled` by `seed` and query id, or `reversed`."""

    seed: int = 0
    """Seed of the shuffling."""

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: passages are read in blocks, none of which waits for another one."""
        passage = min(size.passage_tokens, self.max_passage_tokens)
        query = min(size.query_tokens, self.max_query_tokens)
        block = self.block_passages
        if self.context is not None and passage:
            room = self.context - 2 * query - self.max_passage_tokens
            block = min(block, max(1, math.ceil(room / passage)))
        blocks = math.ceil(size.candidates / block)
        frame = size.tokens_of(prompt_text("", [], self.instruction)) + 2 * query
        around = size.tokens_of(prompt_text("", [""])) - size.tokens_of(prompt_text("", []))
        return Work(
            windows=blocks,
            llm_calls=blocks,
            sequential_calls=bool(blocks),
            prompt_tokens=blocks * frame + size.candidates * (passage + around),
        )
