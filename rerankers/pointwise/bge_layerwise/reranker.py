"""BGE layerwise: the score of a causal reranker, read behind one of its upper layers (arXiv 2402.03216).

bge-reranker-v2-minicpm-layerwise has a linear head behind each layer from the eighth on; with fewer layers it
is faster and hardly worse. Prompt, cuts and scores are those of FlagEmbedding's `LayerWiseLLMReranker`. Query
and passage are tokenised apart. The shared prefix of a query's prompts is prefilled once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerankers.llm.causal import network_options
from rerankers.llm.hidden import HiddenLM
from rerankers.models.batching import resolve_batch_tokens
from rerankers.models.locate import find_model
from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized
from rerankers.pointwise.bge_layerwise.network import LayerwiseLoader
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.pointwise.bge_layerwise import BGELayerwiseOptions

Prompts = list[tuple[str, list[int]]]
"""The query of each prompt, and its token ids."""


class BGELayerwise(PointwiseReranker[Prompts]):
    """A reranker that scores a prompt by the logit that a head behind a chosen layer gives its last token.

    Raises:
        InputError: the model has no head behind the layer.
        ModelError: the model does not load, or is of another architecture.
    """

    def __init__(self, options: BGELayerwiseOptions) -> None:
        from rerankers.encoders.recipe import read_json

        files = find_model(options.model, options.revision)
        loader = LayerwiseLoader(options.model, read_json(files, "config.json"), options.layer)
        self._llm = HiddenLM(
            options.model,
            **network_options(options, options.device),
            architecture=loader,
        )
        self._head = self._llm.network.score_head.float()  # in half precision near scores would tie
        self._described = {**self._llm.describe(), "layer": loader.layer}
        self._options = options
        self.control = ControlTokens(self._llm.tokenizer, options.control_tokens)
        self._break = self._ids(["\n"])[0]
        self._suffix = [*self._break, *self._ids([options.prompt])[0]]
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, self._llm.device)
        self.device = str(self._llm.device)

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[Prompts]:
        """Return the prompt of each pair as token ids: start, query, line break, passage, line break,
        question.

        The query takes at most three quarters of `max_length`; the passage is cut to the rest.
        """
        limit = self._options.max_length
        queries = self._ids([f"A: {pair.query}" for pair in pairs])
        passages = self._ids([f"B: {pair.passage}" for pair in pairs])
        start = [self._llm.tokenizer.bos_token_id]
        prompts, truncated = [], []
        for pair, query, passage in zip(pairs, queries, passages, strict=True):
            front = [*start, *query[: limit * 3 // 4], *self._break]
            room = limit + len(self._suffix) - len(front)
            kept = passage[: min(limit, room)]
            prompts.append((pair.query, [*front, *kept, *self._suffix]))
            truncated.append(len(kept) < len(passage))
        rows = [row for _, row in prompts]
        return Tokenized(prompts, [len(row) for row in rows], truncated, [tuple(row) for row in rows])

    def score(self, tokenized: Tokenized[Prompts]) -> list[float]:
        """Return the logit of each prompt.

        The prompts of one query are read together and share their prefix.
        """
        import torch

        scores = torch.zeros(len(tokenized.inputs))
        by_query: dict[str, list[int]] = {}
        for i, (query, _) in enumerate(tokenized.inputs):
            by_query.setdefault(query, []).append(i)
        for positions in by_query.values():
            prompts = [tokenized.inputs[i][1] for i in positions]
            read = self._llm.read(prompts, [[len(prompt) - 1] for prompt in prompts], self._batch_tokens)
            with torch.inference_mode():
                scores[positions] = self._head(torch.cat(read.states))[:, 0].cpu()
        values: list[float] = scores.tolist()
        return values

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, the layer, the prompt and the limits."""
        return {
            **self._described,
            "prompt": self._options.prompt,
            "max_length": self._options.max_length,
            "control_tokens": self._options.control_tokens,
            "batch_tokens": self._batch_tokens,
        }

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens."""
        rows: Any = self._llm.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        ids: list[list[int]] = rows
        return ids
