"""Options of the embedding baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from rerankers.methods.embedded import EmbeddingOptions, PoolingName, SimilarityName
from rerankers.methods.loaded import AttentionOptions
from rerankers.methods.runtimes import RuntimeOptions
from rerankers.work import Work

if TYPE_CHECKING:
    from rerankers.work import RequestSize


class EmbeddingRerankerOptions(RuntimeOptions, EmbeddingOptions, AttentionOptions):
    """Options of `embedding`."""

    summary: ClassVar[str] = "cosine of query and passage embeddings"
    implementation: ClassVar[str] = "rerankers.pointwise.embedding:EmbeddingReranker"

    embeddings: Literal["per_query", "precomputed"] = "per_query"
    """`per_query` embeds passages when a query comes, `precomputed` takes them from the store."""

    pooling: PoolingName = "auto"
    """`mean` over tokens, the first (`cls`) or the `last_token`; `auto` as the authors say."""

    max_length: int = Field(default=512, ge=8)
    """Longest input in tokens, special ones and the prefix included; the authors' limit applies if
    smaller."""

    query_prefix: str | None = None
    """Text before every query; null is the authors' own prompt."""

    passage_prefix: str | None = None
    """Text before every passage; null is the authors' own prompt."""

    similarity: SimilarityName = "auto"
    """`cosine` or `dot` product; `auto` as the authors say, and cosine where they do not."""

    batch_tokens: int | None = Field(default=None, ge=1)
    """Most tokens in one forward pass, padding included; null suits the device."""

    def work(self, size: RequestSize) -> Work:
        """Estimate the work: each passage is embedded, or taken from the store."""
        return Work(passages_embedded=0 if self.embeds_passages else size.candidates)
