"""The embedding baseline: cosine of query and passage embeddings, what a dense retriever alone would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, validate_call

from rerankers.devices import AttentionName, DtypeName
from rerankers.encoders.encoder import Encoder
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.stages import StageClock


class EmbeddingReranker(Reranker):
    """Ranks by the cosine of query and passage; passages are embedded anew for every query.

    Args:
        model: encoder; hub id, folder or wheel, see `rerankers.models`.
        revision: hub revision (branch, tag or commit).
        pooling, max_length, query_prefix, passage_prefix, batch_tokens: see `rerankers.encoders.encoder`.
        device, dtype, attention: as everywhere; see `rerankers.devices`.

    Raises:
        InputError: no such folder or device.
        ModelError: the model does not load.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        pooling: Literal["auto", "mean", "cls", "last_token"] = "auto",
        max_length: Annotated[int, Field(ge=8)] = 512,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        batch_tokens: Annotated[int, Field(ge=1)] = 16384,
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
            batch_tokens=batch_tokens,
            device=device,
            dtype=dtype,
            attention=attention,
        )
        self.device = str(self._encoder.device)

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank by cosine, query by query: the passages of one query fill the encoder's batches already."""
        return [self._rank(request, clock) for request in requests]

    def _rank(self, request: RerankRequest, clock: StageClock) -> Ranking:
        cost = Cost()
        if not request.candidates:
            return Ranking.of(request, [], cost)
        texts = [candidate.text for candidate in request.candidates]
        with clock.stage("embed", cost):
            query = self._encoder.encode([request.query], kind="query")  # (1, dimension)
            passages = self._encoder.encode(texts, kind="passage")  # (candidates, dimension)
        cost.usage.passages_embedded = len(set(texts))
        cost.usage.passages_truncated = self._encoder.truncated
        with clock.stage("order", cost):
            return Ranking.by_score(request, (passages @ query[0]).tolist(), cost)

    def describe(self) -> dict[str, object]:
        """The encoder as loaded."""
        return {**self._encoder.describe(), "device": self.device}
