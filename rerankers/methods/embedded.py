"""Options of methods that compare or read passages as embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from rerankers.options import Affects, MethodOptions

EmbeddingMode = Literal["precomputed", "per_query", "per_window"]
PoolingName = Literal["auto", "mean", "cls", "last_token"]
SimilarityName = Literal["auto", "cosine", "dot"]


class EmbeddingOptions(MethodOptions):
    """When passages are embedded, and where embeddings are kept."""

    embeddings: EmbeddingMode = "per_query"
    """`per_query` embeds each passage once a query, `precomputed` takes it from the store, and `per_window`
    embeds it in every window, as the published code does. The rankings are the same."""

    store: Annotated[Path | None, Affects("nothing")] = None
    """Folder of the embedding stores; null is the cache folder."""

    @property
    def embeds_passages(self) -> bool:
        """True if passages are embedded before any query."""
        return self.embeddings == "precomputed"
