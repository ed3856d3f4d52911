"""Query likelihood under a causal LM: UPR (Sachan et al., arXiv 2204.07496, section 2).

A passage's score is the mean log-probability of the query's tokens after a prompt that shows the passage. The
paper asks an encoder-decoder; a decoder reads the same prompt and the query in one sequence. The prompt
templates are data: `rerankers/pointwise/prompts.toml`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import check_offsets, cut_to_tokens, score_ends
from rerankers.models.batching import resolve_batch_tokens
from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized
from rerankers.pointwise.prompts import Framed
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from rerankers.methods.pointwise.query_likelihood import QueryLikelihoodOptions

Prompts = list[tuple[list[int], int]]
"""Token ids of each prompt with its query at the end, and how many of them are the query's."""


class QueryLikelihood(PointwiseReranker[Prompts]):
    """A reranker that scores passages by the mean log-probability of the query's tokens given the passage.

    An empty query ties all passages.

    Raises:
        InputError: no such prompt, or one for chat models with a model that has no chat template.
        ModelError: the model does not load, or thinks before it answers.
    """

    def __init__(self, options: QueryLikelihoodOptions) -> None:
        wording = options.template
        self._llm = CausalLM.of(options, decodes=False)
        check_offsets(self._llm.tokenizer)
        self._frame = Framed(wording, self._llm.tokenizer, options.model, options.template_variables)
        self._before, _, after = self._frame.text.partition("{passage}")
        self._after = after + wording.before_query  # the query follows at once
        self._described = {**self._llm.describe(), **self._llm.exactness.describe("pads", "shares", "packs")}
        self._options = options
        self.control = ControlTokens(self._llm.tokenizer, options.control_tokens)
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, self._llm.device)
        self.device = str(self._llm.device)

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[Prompts]:
        """Return the token ids of each pair's prompt with the query behind it, and the number of the query's
        tokens.

        Both are tokenised as one text. A token that spans the end of the prompt and the start of the query
        counts as the query's.
        """
        tokenizer = self._llm.tokenizer
        passages, truncated = cut_to_tokens(
            tokenizer, [pair.passage for pair in pairs], self._options.max_passage_tokens
        )
        framed = [self._before + passage + self._after for passage in passages]
        texts = [start + pair.query for start, pair in zip(framed, pairs, strict=True)]
        encoded = tokenizer(
            texts,
            add_special_tokens=self._frame.needs_special_tokens,
            return_offsets_mapping=True,
            verbose=False,
        )
        prompts: Prompts = []
        for start, ids, offsets in zip(framed, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            of_query = [i for i, (_, end) in enumerate(offsets) if end > len(start)]
            prompts.append((ids[: of_query[-1] + 1] if of_query else ids, len(of_query)))
        read = [(tuple(ids), count) for ids, count in prompts]
        return Tokenized(prompts, [len(ids) for ids, _ in prompts], truncated, read)

    def score(self, tokenized: Tokenized[Prompts]) -> list[float]:
        """Return the mean log-probability of each query's tokens, natural logarithm; 0 for an empty query."""
        import torch

        scores = [0.0] * len(tokenized.inputs)
        nonempty = [i for i, (_, count) in enumerate(tokenized.inputs) if count]
        if not nonempty:
            return scores
        # The last token predicts nothing, and the first one cannot be predicted.
        prompts = [tokenized.inputs[i][0][:-1] for i in nonempty]
        queries = [tokenized.inputs[i][0][1:][-tokenized.inputs[i][1] :] for i in nonempty]
        keep = [len(query) for query in queries]

        def means(batch: list[int], logits: torch.Tensor) -> torch.Tensor:
            """Return the mean log-probability of each query of a batch, (rows,), from logits (rows, k,
            vocabulary).
            """
            rows = zip(logits, batch, strict=True)
            return torch.stack([_mean_log_probability(row, queries[position]) for row, position in rows])

        means_by_prompt = score_ends(self._llm, prompts, keep, self._batch_tokens, means)
        for position, mean in zip(nonempty, means_by_prompt, strict=True):
            scores[position] = mean
        return scores

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, the prompt template, and the limits."""
        return {
            **self._described,
            **self._frame.describe(),
            "prompt": self._options.prompt,
            "max_passage_tokens": self._options.max_passage_tokens,
            "control_tokens": self._options.control_tokens,
            "batch_tokens": self._batch_tokens,
        }


def _mean_log_probability(logits: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    """Return the mean log-probability of `tokens` after a prompt, a scalar tensor.

    It takes one prompt, because in float32 a batch of them would not fit beside a large model.

    Args:
        logits: (positions, vocabulary); the last ones predict the tokens.
        tokens: the ids of the query's tokens.
    """
    import torch

    log_probabilities = logits[-len(tokens) :].float().log_softmax(dim=-1)
    targets = torch.tensor(tokens, device=logits.device)[:, None]
    return log_probabilities.gather(1, targets).mean()
