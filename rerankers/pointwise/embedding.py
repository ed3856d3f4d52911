"""The embedding baseline: it compares query and passage embeddings, as a dense retriever alone would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rerankers.encoders.encoder import Encoder
from rerankers.encoders.passages import EmbeddingPassages, PassageEmbedder
from rerankers.encoders.store import EmbeddingStore
from rerankers.interface import Cost, Ranking, RerankRequest, Usage
from rerankers.models.locate import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.pointwise.embedding import EmbeddingRerankerOptions
    from rerankers.stages import StageClock


class EmbeddingReranker(EmbeddingPassages):
    """A reranker that scores passages by the cosine or inner product of their and the query's embedding.

    A passage without tokens ranks last.

    Raises:
        InputError: no such folder or device.
        ModelError: the model does not load.
        StoreError: the store holds other embeddings.
    """

    scores_passages_alone = True

    def __init__(self, options: EmbeddingRerankerOptions) -> None:
        self._encoder = Encoder(
            options.model,
            revision=options.revision,
            pooling=options.pooling,
            max_length=options.max_length,
            query_prefix=options.query_prefix,
            passage_prefix=options.passage_prefix,
            similarity=options.similarity,
            control_tokens=options.control_tokens,
            batch_tokens=options.batch_tokens,
            device=options.device,
            dtype=options.dtype,
            attention=options.attention,
            runtime=options,
        )
        store = None
        if options.embeds_passages:
            folder = options.store or cache_folder() / "embeddings"
            store = EmbeddingStore(folder, self._encoder.describe(), self._encoder.dimension)
        self._embedder = PassageEmbedder(self._encoder, store)
        self._embeddings = options.embeddings
        self.device = str(self._encoder.device)

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request by similarity, highest first.

        A passage of several queries is embedded once, and counted for the first.
        """
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

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the encoder as loaded, and the source of passage embeddings.

        It has a notice if tables have to show one.
        """
        precision = self._encoder.precision
        return {
            **self._encoder.describe(),
            **({"largest_difference": precision.difference} if precision else {}),
            "embeddings": self._embeddings,
            "device": self.device,
            **({"notice": self._encoder.notice} if self._encoder.notice else {}),
        }


def _similarities(passages: torch.Tensor, query: torch.Tensor) -> list[float]:
    """Return the inner product of each passage with the query; a passage of zeros gets the lowest of all.

    Args:
        passages: embeddings, (texts, dimension); zeros are those of a text without tokens.
        query: the query's embedding, (dimension,).
    """
    products = passages @ query
    lowest = products.min() - 1
    similarities: list[float] = torch.where(passages.any(dim=1), products, lowest).tolist()
    return similarities
