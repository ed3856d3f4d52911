"""Options of the Set-Encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rerankers.methods.loaded import LoadedOptions
from rerankers.models.batching import BatchTokens
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize

_FRAME = 4  # [CLS], the interaction token and two [SEP]


class SetEncoderOptions(LoadedOptions):
    """Options of `set-encoder`."""

    summary: ClassVar[str] = "a cross-encoder whose passages see each other (Set-Encoder, arXiv 2404.06912)"
    implementation: ClassVar[str] = "rerankers.listwise.set_encoder.reranker:SetEncoder"

    max_query_tokens: int | None = Field(default=None, ge=1)
    """Queries are cut after this many tokens; None is the model's own limit."""

    max_passage_tokens: int | None = Field(default=None, ge=1)
    """Passages are cut after this many tokens; None is the model's own limit."""

    batch_tokens: BatchTokens = "auto"
    """Most tokens in one batch, padding included; `auto` suits the device."""

    def work(self, size: RequestSize) -> Work:
        """Return the tokens of one set; each passage is read once with the query."""
        query = min(size.query_tokens, self.max_query_tokens or size.query_tokens)
        passage = min(size.passage_tokens, self.max_passage_tokens or size.passage_tokens)
        tokens = size.candidates * (_FRAME + query + passage)
        return Work(windows=min(1, size.candidates), prompt_tokens=tokens)
