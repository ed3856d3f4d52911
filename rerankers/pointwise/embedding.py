"""The embedding baseline: compares query and passage embeddings, as a dense retriever alone would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field, validate_call

from rerankers.encoders.encoder import Encoder, SimilarityName
from rerankers.encoders.passages import PassageEmbedder
from rerankers.encoders.store import EmbeddingStore
from rerankers.interface import Capabilities, Cost, Ranking, Reranker, RerankRequest, Usage
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.models.locate import cache_folder
from rerankers.text.control_tokens import ControlTokenMode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerankers.stages import StageClock


class EmbeddingReranker(Reranker):
    """Ranks by the similarity of query and passage: their cosine, or their inner product.

    A passage without tokens ranks last.

    Args:
        model: encoder; hub id, folder or wheel, see `rerankers.models.locate`.
        revision: hub revision (branch, tag or commit).
        embeddings: `per_query` embeds passages when a query comes, `precomputed` takes them from the store.
        store: folder of the embedding stores; None is the cache folder.
        pooling, max_length, query_prefix, passage_prefix, similarity, batch_tokens: see
            `rerankers.encoders.encoder`.
        control_tokens: how control tokens in queries and passages are read; see
            `rerankers.text.control_tokens`.
        device, dtype, attention: as everywhere; see `rerankers.models.devices`.

    Raises:
        InputError: no such folder or device.
        ModelError: the model does not load.
        StoreError: the store holds something else.
    """

    scores_passages_alone = True

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        embeddings: Literal["per_query", "precomputed"] = "per_query",
        store: Path | None = None,
        pooling: Literal["auto", "mean", "cls", "last_token"] = "auto",
        max_length: Annotated[int, Field(ge=8)] = 512,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        similarity: SimilarityName = "auto",
        control_tokens: ControlTokenMode = "text",
        batch_tokens: Annotated[int, Field(ge=1)] | None = None,
        device: str = "auto",
        dtype: DtypeName = "auto",
        attention: AttentionName = "auto",
    ) -> None:
        self._encoder = Encoder(
            model,
            revision=revision,
            pooling=pooling,
            max_length=max_length,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            similarity=similarity,
            control_tokens=control_tokens,
            batch_tokens=batch_tokens,
            device=device,
            dtype=dtype,
            attention=attention,
        )
        kept = None
        if embeddings == "precomputed":
            folder = store or cache_folder() / "embeddings"
            kept = EmbeddingStore(folder, self._encoder.describe(), self._encoder.dimension)
        self._embedder = PassageEmbedder(self._encoder, kept)
        self._embeddings = embeddings
        self.device = str(self._encoder.device)

    @classmethod
    def capabilities(cls, options: Mapping[str, Any]) -> Capabilities:
        """Tell which encoder is loaded, and whether passages are embedded before any query."""
        models = ((options["model"], options["revision"]),)
        return Capabilities(models=models, embeds_passages=options["embeddings"] == "precomputed")

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank by similarity; a passage of several queries is embedded once, and counted for the first."""
        costs = [Cost() for _ in requests]
        usages: dict[str, Usage] = {}
        for request, cost in zip(requests, costs, strict=True):
            for candidate in request.candidates:
                usages.setdefault(candidate.text, cost.usage)
        busy = [cost for cost, request in zip(costs, requests, strict=True) if request.candidates]
        if busy:
            with clock.stage("embed", *busy):
                passages = self._embedder.vectors(list(usages), list(usages.values()))  # (texts, dimension)
                queries = self._encoder.encode([request.query for request in requests], kind="query")
                in_queries = self._encoder.count_control_tokens(
                    [request.query for request in requests], kind="query"
                )
                for cost, count in zip(costs, in_queries, strict=True):
                    cost.usage.control_tokens += count
        row_of = {text: row for row, text in enumerate(usages)}
        rankings = []
        for i, (request, cost) in enumerate(zip(requests, costs, strict=True)):
            with clock.stage("order", cost):
                texts = list(dict.fromkeys(candidate.text for candidate in request.candidates))
                similarities = (
                    _similarities(passages[[row_of[text] for text in texts]], queries[i]) if texts else []
                )
                scores = dict(
                    zip(texts, similarities, strict=True)
                )  # equal texts score equal to the last bit
                passage_scores = [scores[candidate.text] for candidate in request.candidates]
                rankings.append(Ranking.by_score(request, passage_scores, cost))
        return rankings

    def stores(self) -> Sequence[EmbeddingStore]:
        """Return the embedding store, if there is one."""
        return self._embedder.stores

    def prepare(self, requests: Sequence[RerankRequest]) -> None:
        """Embed the candidates' passages into the store, if there is one: before queries are timed."""
        self._embedder.fill_store(requests)

    def describe(self) -> dict[str, object]:
        """Return the encoder as loaded, and where passages' embeddings come from;
        a notice if it needs one.
        """
        notice = {"notice": self._encoder.notice} if self._encoder.notice else {}
        return {**self._encoder.describe(), "embeddings": self._embeddings, "device": self.device, **notice}


def _similarities(passages: torch.Tensor, query: torch.Tensor) -> list[float]:
    """Inner products of (texts, dimension) and (dimension,); a vector of zeros, of no tokens, comes last."""
    products = passages @ query
    lowest = products.min() - 1
    similarities: list[float] = torch.where(passages.any(dim=1), products, lowest).tolist()
    return similarities
