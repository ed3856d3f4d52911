"""monoT5 (Nogueira et al., arXiv 2003.06713): a sequence-to-sequence model answers `true` or `false`.

The encoder reads "Query: ... Document: ... Relevant:"; the score is the log-probability of `true` against
`false` as the first decoded token. The published code cuts the whole input at 512 tokens, and with it the
question at its end; here the passage is cut instead, which differs only for passages that long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.errors import ModelError
from rerankers.llm.causal import network_options
from rerankers.llm.readout import check_offsets, cut_to_tokens, log_probability, read_only
from rerankers.llm.seq2seq import load_seq2seq
from rerankers.models.batching import length_sorted_batches, resolve_batch_tokens
from rerankers.models.side_by_side import side_by_side
from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized
from rerankers.pointwise.prompts import MonoT5Prompt, fill, prompt_named
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.pointwise.mono_t5 import MonoT5Options


class MonoT5(PointwiseReranker[list[list[int]]]):
    """A reranker that scores passages by the log-probability of `true` against `false` as a T5's first token.

    Raises:
        ModelError: the model does not load, or its vocabulary lacks an answer.
    """

    def __init__(self, options: MonoT5Options) -> None:
        wording = prompt_named(MonoT5Prompt, options.prompt)
        loaded = load_seq2seq(options.model, **network_options(options, options.device))
        self._tokenizer, self._model = loaded.tokenizer, loaded.network
        check_offsets(self._tokenizer)
        self._text = wording.text
        read_only(self._model, [self._token(wording.yes), self._token(wording.no)])
        self._options = options
        self.control = ControlTokens(self._tokenizer, options.control_tokens)
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, loaded.device)
        self._described = loaded.described
        self.device = str(loaded.device)

    def _token(self, word: str) -> int:
        """Return the id of a word of the vocabulary.

        Raises:
            ModelError: the vocabulary lacks it.
        """
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        if word not in vocabulary:
            raise ModelError(f"the vocabulary has no {word!r}; choose the prompt the model was trained with")
        return vocabulary[word]

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[list[list[int]]]:
        """Return the prompt of each pair as token ids, with the end token that the model was trained with.

        Passages are cut first, so that the whole prompt is never cut.
        """
        passages, truncated = cut_to_tokens(
            self._tokenizer, [pair.passage for pair in pairs], self._options.max_passage_tokens
        )
        texts = [
            fill(self._text, query=pair.query, passage=passage)
            for pair, passage in zip(pairs, passages, strict=True)
        ]
        ids: list[list[int]] = self._tokenizer(texts, verbose=False)["input_ids"]
        return Tokenized(ids, [len(row) for row in ids], truncated, [tuple(row) for row in ids])

    def score(self, tokenized: Tokenized[list[list[int]]]) -> list[float]:
        """Return the log-probability of true against false for each prompt, natural logarithm."""
        import torch

        scores = torch.empty(len(tokenized.inputs))
        start = self._model.config.decoder_start_token_id

        def read(batch: list[int]) -> None:
            """Run a batch of prompts, by their positions, and put their scores into `scores`."""
            rows = [tokenized.inputs[i] for i in batch]
            padded = self._tokenizer.pad({"input_ids": rows}, padding_side="right", return_tensors="pt")
            logits = self._model(
                input_ids=padded["input_ids"].to(self.device),
                attention_mask=padded["attention_mask"].to(self.device),
                decoder_input_ids=torch.full((len(batch), 1), start, device=self.device),
                use_cache=False,
            ).logits  # (rows, 1, answers)
            scores[batch] = log_probability(logits[:, 0, 0], logits[:, 0, 1]).cpu()

        device = self._model.device
        side_by_side(read, length_sorted_batches(tokenized.lengths, self._batch_tokens, device), device)
        values: list[float] = scores.tolist()
        return values

    def describe(self) -> dict[str, object]:
        """Return the record's entry: model and version, dtype, attention, the prompt template, and
        the limits.
        """
        return {
            **self._described,
            "architecture": type(self._model).__name__,
            "prompt": self._options.prompt,
            "max_passage_tokens": self._options.max_passage_tokens,
            "control_tokens": self._options.control_tokens,
            "batch_tokens": self._batch_tokens,
        }
