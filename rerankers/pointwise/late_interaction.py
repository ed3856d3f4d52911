"""Late interaction: each query token meets its most similar passage token (ColBERT, arXiv 2004.12832).

Loading, tokenising (query expansion, markers, skipped punctuation), projection and MaxSim are
sentence-transformers' `MultiVectorEncoder`, which reads its own checkpoints and those of PyLate and of
Stanford's ColBERT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rerankers.encoders.limits import limit_lengths
from rerankers.encoders.recipe import read_list
from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest
from rerankers.models.batching import resolve_batch_tokens
from rerankers.models.loading_report import POOLER, refuse_adapter
from rerankers.models.sentence_model import (
    Features,
    in_batches,
    lengths_and_cuts,
    load_sentence_model,
)
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.pointwise.late_interaction import LateInteractionOptions
    from rerankers.models.locate import ModelFiles
    from rerankers.stages import StageClock


class LateInteraction(Reranker):
    """A reranker that scores by MaxSim: the sum over query tokens of the largest cosine to any passage token.

    Raises:
        InputError: no such folder or device.
        ModelError: the model does not load, or is not a multi-vector model.
    """

    scores_passages_alone = True

    def __init__(self, options: LateInteractionOptions) -> None:
        from sentence_transformers import MultiVectorEncoder

        files = options.files()
        refuse_adapter(files)
        self._encoder, self._described = load_sentence_model(
            MultiVectorEncoder, "multi-vector model", files, options, may_lack=POOLER
        )
        self._check_projection(files)
        transformers = [module for module in self._encoder.modules() if hasattr(module, "document_length")]
        limit_lengths(files.name, transformers, self._encoder.max_seq_length, {"query": "", "document": ""})
        self._control = ControlTokens(self._encoder.tokenizer, options.control_tokens)
        self.device = str(self._encoder.device)
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, self._encoder.device)

    def _check_projection(self, files: ModelFiles) -> None:
        """Refuse an encoder of single vectors, for which the library would make a random projection.

        Raises:
            ModelError: the model is one.
        """
        modules = read_list(files, "modules.json")
        kinds = {str(row.get("type")).rpartition(".")[2] for row in modules if isinstance(row, dict)}
        architecture = (self._encoder[0].config.architectures or ["unknown"])[0]
        knows_how = architecture == "HF_ColBERT" or architecture.endswith("ForRetrieval")
        if "Pooling" in kinds or not (knows_how or modules):
            raise ModelError(f"{files.name!r} is a {architecture}, not a multi-vector model; use embedding")

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Return a ranking of each request by MaxSim, highest first.

        Queries are ranked one after the other: the passages of one already fill batches.
        """
        return [self._rank(request, clock) for request in requests]

    def _rank(self, request: RerankRequest, clock: StageClock) -> Ranking:
        """Return the ranking of one request by MaxSim."""
        cost = Cost()
        if not request.candidates:
            return Ranking.of(request, [], cost)
        texts_by_rank = [candidate.text for candidate in request.candidates]
        texts = list(dict.fromkeys(texts_by_rank))  # equal texts score equal to the last bit
        with clock.stage("embed", cost):
            (query_text, *passage_texts), control_tokens = self._control.read([request.query, *texts])
            query = self._embed_query(query_text)
            passages, cut = self._embed(passage_texts)
        cost.usage.passages_embedded = len(texts)
        cost.usage.passages_truncated = sum(cut)
        cost.usage.control_tokens = sum(control_tokens)
        with clock.stage("forward", cost):
            similarity = self._similarities(query, passages)
        with clock.stage("order", cost):
            scores = dict(zip(texts, similarity, strict=True))
            return Ranking.by_score(request, [scores[text] for text in texts_by_rank], cost)

    def _embed_query(self, text: str) -> Any:
        """Return the token vectors of a query, (query tokens, dimension), in a list of one.

        A query without tokens has no rows.
        """
        read = f"{self._encoder.prompts.get('query') or ''}{text}"
        if self._encoder[0].query_expansion is None and not self._encoder.tokenizer(read)["input_ids"]:
            return [torch.empty(0, self._encoder.get_embedding_dimension())]
        return self._encoder.encode_query([text], show_progress_bar=False)

    def _embed(self, texts: list[str]) -> tuple[list[torch.Tensor], list[bool]]:
        """Return the token vectors of each passage, (tokens, dimension), and whether it was cut.

        Tokens that the model skips have no row. It does what `encode_document` does, which does not report
        cuts.
        """
        prompts = self._encoder.prompts
        names = [name for name in ("document", "passage", "corpus") if name in prompts]
        prompt = prompts.get(names[0] if names else self._encoder.default_prompt_name)
        features = self._encoder.preprocess(texts, prompt=prompt, task="document")
        lengths, cut = lengths_and_cuts(self._encoder, features, texts, prompt=prompt, task="document")
        vectors_by_text: dict[int, torch.Tensor] = {}

        def read(rows: list[int], batch: Features) -> None:
            """Put the token vectors of a batch of texts into `vectors_by_text`."""
            out = self._encoder(batch, task="document")
            vectors = zip(rows, out["token_embeddings"], out["attention_mask"].bool(), strict=True)
            vectors_by_text.update({row: tokens[counts] for row, tokens, counts in vectors})

        in_batches(self._encoder, features, lengths, self._batch_tokens, read)
        nothing = torch.empty(0, self._encoder.get_embedding_dimension(), device=self.device)
        return [vectors_by_text.get(row, nothing) for row in range(len(texts))], cut

    def _similarities(self, query: Any, passages: list[torch.Tensor]) -> list[float]:
        """Return the MaxSim of each passage with the query.

        A passage without tokens comes last. If the query has no tokens, all passages with tokens score 1.

        Args:
            query: its token vectors in a list of one.
            passages: token vectors of each, (tokens, dimension).
        """
        full = [row for row, tokens in enumerate(passages) if len(tokens)]
        if not full or not len(query[0]):
            return [float(bool(len(tokens))) for tokens in passages]
        scores = self._encoder.similarity(query, [passages[row] for row in full])[0].tolist()
        by_row = dict(zip(full, scores, strict=True))
        return [by_row.get(row, min(scores) - 1) for row in range(len(passages))]

    def describe(self) -> dict[str, object]:
        """Return the record's entry: model and version, dtype, attention, lengths and similarity."""
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
