"""Late interaction: each query token meets its most similar passage token (ColBERT, arXiv 2004.12832).

Loading, tokenising (query expansion, markers, skipped punctuation), projection and MaxSim are
sentence-transformers' `MultiVectorEncoder`, which reads its own checkpoints and those of PyLate and of
Stanford's ColBERT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import validate_call

from rerankers.batching import resolve_batch_tokens
from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.loading_report import POOLER
from rerankers.sentence_model import (
    Features,
    SentenceModelOptions,
    in_batches,
    lengths_and_cuts,
    load_sentence_model,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from rerankers.models import ModelFiles
    from rerankers.stages import StageClock


class LateInteraction(Reranker):
    """Ranks by MaxSim: the sum over query tokens of the largest cosine to any passage token.

    Args:
        loaded: the multi-vector checkpoint, and how it is loaded; in experiment files these options stand
            by themselves.

    Raises:
        InputError: no such folder or device.
        ModelError: the model does not load, or is no multi-vector model.
    """

    @validate_call
    def __init__(self, *, loaded: SentenceModelOptions) -> None:
        from sentence_transformers import MultiVectorEncoder

        files = loaded.files()
        self._encoder, self._described = load_sentence_model(
            MultiVectorEncoder, "multi-vector model", files, loaded, may_lack=POOLER
        )
        self._check_projection(files)
        self.device = str(self._encoder.device)
        self._batch_tokens = resolve_batch_tokens(loaded.batch_tokens, self._encoder.device)

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
            passages, cut = self._embed(texts)
        cost.usage.passages_embedded = len(texts)
        cost.usage.passages_truncated = sum(cut)
        with clock.stage("forward", cost):
            similarity = self._encoder.similarity(query, passages)[0].tolist()
        with clock.stage("order", cost):
            scores = dict(zip(texts, similarity, strict=True))
            return Ranking.by_score(request, [scores[text] for text in asked], cost)

    def _embed(self, texts: list[str]) -> tuple[list[torch.Tensor], list[bool]]:
        """For each passage (tokens that count, dimension), and whether it was cut.

        As `encode_document`, which does not tell what it cut.
        """
        prompts = self._encoder.prompts
        names = [name for name in ("document", "passage", "corpus") if name in prompts]
        prompt = prompts.get(names[0] if names else self._encoder.default_prompt_name)
        features = self._encoder.preprocess(texts, prompt=prompt, task="document")
        lengths, cut = lengths_and_cuts(self._encoder, features)
        found: dict[int, torch.Tensor] = {}

        def read(rows: list[int], batch: Features) -> None:
            out = self._encoder(batch, task="document")
            vectors = zip(rows, out["token_embeddings"], out["attention_mask"].bool(), strict=True)
            found.update({row: tokens[counts] for row, tokens, counts in vectors})

        in_batches(self._encoder, features, lengths, self._batch_tokens, read)
        return [found[row] for row in range(len(texts))], cut

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
            "batch_tokens": self._batch_tokens,
            "device": self.device,
        }
