"""Late interaction: each query token meets its most similar passage token (ColBERT, arXiv 2004.12832).

Loading, tokenising (query expansion, markers, skipped punctuation), projection and MaxSim are
sentence-transformers' `MultiVectorEncoder`, which reads its own checkpoints and those of PyLate and of
Stanford's ColBERT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, validate_call

from rerankers.devices import AttentionName, DtypeName, resolve_device, resolve_dtype
from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.models import ModelFiles, find_model
from rerankers.remote_code import check_pinned, loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.stages import StageClock


class LateInteraction(Reranker):
    """Ranks by MaxSim: the sum over query tokens of the largest cosine to any passage token.

    Args:
        model: multi-vector checkpoint; hub id or folder, see `rerankers.models`.
        revision: hub revision (branch, tag or commit).
        trust_remote_code: run the code that the model's hub repository brings; `revision` must then be a
            full commit hash.
        batch_size: passages in one forward pass.
        device, dtype, attention: as everywhere; see `rerankers.devices`.

    Raises:
        InputError: no such folder or device.
        ModelError: the model does not load, or is no multi-vector model.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        trust_remote_code: bool = False,
        batch_size: Annotated[int, Field(ge=1)] = 32,
        device: str = "auto",
        dtype: DtypeName = "auto",
        attention: AttentionName = "auto",
    ) -> None:
        from sentence_transformers import MultiVectorEncoder

        if trust_remote_code:
            check_pinned(model, revision)
        files = find_model(model, revision)
        target = resolve_device(device)
        how: dict[str, Any] = {"dtype": resolve_dtype(dtype, target)}
        if attention != "auto":
            how["attn_implementation"] = attention
        with loading("multi-vector model", model, trust_remote_code):
            self._encoder: Any = MultiVectorEncoder(
                files.location,
                revision=files.revision,
                device=str(target),
                trust_remote_code=trust_remote_code,
                model_kwargs=how,
            )
        self._check_projection(files)
        self._encoder.eval()
        self._batch_size = batch_size
        self._described = {
            "model": model,
            "revision": getattr(self._encoder[0].config, "_commit_hash", None) or files.fingerprint,
            "remote_code": trust_remote_code,
        }
        self.device = str(target)

    def _check_projection(self, files: ModelFiles) -> None:
        """Refuse a bare encoder: it would get a random projection, and a warning nobody reads."""
        from sentence_transformers.util import is_sentence_transformer_model

        architecture = (self._encoder[0].config.architectures or ["unknown"])[0]
        knows_how = architecture == "HF_ColBERT" or architecture.endswith("ForRetrieval")
        if not knows_how and not is_sentence_transformer_model(files.location, revision=files.revision):
            raise ModelError(f"{files.name!r} is a {architecture}, not a multi-vector model; use embedding")

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank by MaxSim, query by query: one query's passages fill batches already."""
        return [self._rank(request, clock) for request in requests]

    def _rank(self, request: RerankRequest, clock: StageClock) -> Ranking:
        cost = Cost()
        if not request.candidates:
            return Ranking.of(request, [], cost)
        asked = [candidate.text for candidate in request.candidates]
        texts = list(dict.fromkeys(asked))  # equal texts score equal to the last bit
        with clock.stage("embed", cost):
            query = self._encoder.encode_query([request.query], show_progress_bar=False)
            passages = self._encoder.encode_document(
                texts, batch_size=self._batch_size, show_progress_bar=False
            )
        cost.usage.passages_embedded = len(texts)
        with clock.stage("forward", cost):
            similarity = self._encoder.similarity(query, passages)[0].tolist()
        with clock.stage("order", cost):
            scores = dict(zip(texts, similarity, strict=True))
            return Ranking.by_score(request, [scores[text] for text in asked], cost)

    def describe(self) -> dict[str, object]:
        """Model, revision or fingerprint, dtype, attention, lengths and similarity."""
        transformer = self._encoder[0]
        return {
            **self._described,
            "architecture": type(transformer.model).__name__,
            "dimension": self._encoder.get_embedding_dimension(),
            "dtype": str(transformer.model.dtype).removeprefix("torch."),
            "attention": transformer.config._attn_implementation,
            "query_length": transformer.query_length,
            "document_length": transformer.document_length,
            "query_expansion": transformer.query_expansion,
            "similarity": self._encoder.similarity_fn_name,
            "batch_size": self._batch_size,
            "device": self.device,
        }
