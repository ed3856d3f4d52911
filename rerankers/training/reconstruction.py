"""Measures how well held-out passages are rebuilt from their embeddings (arXiv 2406.14848, section 3.4).

The alignment stage minimises the cross-entropy of a passage's tokens given its embedding. How much the
embedding tells of it is the difference to the same sequences with another passage's embedding, and without
one: a language model guesses many tokens from those before. Passages are also written freely, token by token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rerankers.training.data.batches import stack
from rerankers.training.data.examples import Sequenced

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rerankers.training.data.examples import AlignmentExamples
    from rerankers.training.data.records import AlignmentRecord
    from rerankers.training.model import TrainableRanker

MEASURES = {
    "rebuilt_cross_entropy": "nats a token, given the passage's own embedding",
    "rebuilt_cross_entropy_other": "nats a token, given another passage's embedding",
    "rebuilt_cross_entropy_without": "nats a token, without an embedding",
    "rebuilt_words": "share of the passage's words written, given its own embedding",
    "rebuilt_words_other": "share of the passage's words written, given another passage's embedding",
}
"""Meaning of each measure of a reconstruction, by its name in the log of a training."""

_BATCH = 8
_WORD = re.compile(r"\w+")


class Reconstruction:
    """Held-out passages that a model in training rebuilds from their embeddings.

    Args:
        records: alignment data.
        examples: the same records as sequences.
        vectors: of their passages under the encoder, (passages, encoder dimension).
        tokenizer: of the language model.
    """

    def __init__(
        self,
        records: Sequence[AlignmentRecord],
        examples: AlignmentExamples,
        vectors: npt.NDArray[np.float32],
        tokenizer: Any,
    ) -> None:
        self._answers = [record.messages[-1]["content"] for record in records]
        random = np.random.default_rng(0)  # which draws nothing from it
        self._own = [examples.visit(number, random).sequence for number in range(len(records))]
        self._vectors, self._tokenizer = vectors, tokenizer

    def __len__(self) -> int:
        return len(self._own)

    @torch.no_grad()
    def measure(self, model: TrainableRanker) -> dict[str, float]:
        """Measure how well passages are rebuilt from their embeddings; the model is left as it was.

        Returns:
            rebuilt_cross_entropy: nats a token of the passage, given its own embedding.
            rebuilt_cross_entropy_other: the same, given the embedding of another passage.
            rebuilt_cross_entropy_without: the same, without an embedding.
            rebuilt_words: share of a passage's different words that the model writes greedily, given its own
                embedding; the mean over passages.
            rebuilt_words_other: the same, given the embedding of another passage.
        """
        was_training = model.training
        model.eval()
        count = len(self._own)
        others = [_with_sources(self._own[i], self._own[(i + 1) % count]) for i in range(count)]
        measured = {
            "rebuilt_cross_entropy": self._cross_entropy(model, self._own),
            "rebuilt_cross_entropy_other": self._cross_entropy(model, others),
            "rebuilt_cross_entropy_without": self._cross_entropy(
                model, list(map(_without_passages, self._own))
            ),
            "rebuilt_words": self._words(model, self._own),
            "rebuilt_words_other": self._words(model, others),
        }
        model.train(was_training)
        return measured

    def texts(self, model: TrainableRanker) -> list[str]:
        """Return the text that the model writes greedily for each passage, given the passage's embedding."""
        return [self._written(model, sequence) for sequence in self._own]

    def _cross_entropy(self, model: TrainableRanker, sequences: Sequence[Sequenced]) -> float:
        """Return the model's mean cross-entropy of the sequences' labelled tokens, in nats a token."""
        total = tokens = 0.0
        for start in range(0, len(sequences), _BATCH):
            batch = self._tensors(model, sequences[start : start + _BATCH])
            predicted_tokens = int((batch["labels"] != -100).sum())
            total += float(model(**batch)["loss"]) * predicted_tokens
            tokens += predicted_tokens
        return total / tokens

    def _tensors(self, model: TrainableRanker, sequences: Sequence[Sequenced]) -> dict[str, torch.Tensor]:
        """Return a batch of sequences as arguments of `TrainableRanker.forward`, on the model's device."""
        used = np.unique(np.concatenate([sequence.sources for sequence in sequences]))
        rows = used[used >= 0] if (used >= 0).any() else np.array([0])
        batch = {"vectors": self._vectors[rows], **stack(sequences, rows)}
        device = next(model.parameters()).device
        return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}

    def _words(self, model: TrainableRanker, sequences: Sequence[Sequenced]) -> float:
        """Return the share of a passage's different words that the model writes, the mean over passages."""
        shares = []
        for sequence, answer in zip(sequences, self._answers, strict=True):
            words = set(_WORD.findall(answer.lower()))
            written = set(_WORD.findall(self._written(model, sequence).lower()))
            shares.append(len(words & written) / len(words) if words else 1.0)
        return float(np.mean(shares))

    def _written(self, model: TrainableRanker, sequence: Sequenced) -> str:
        """Return the text that the model writes greedily behind a prompt, no longer than the passage."""
        prompt = Sequenced(
            sequence.token_ids[: sequence.end + 1], sequence.sources[: sequence.end + 1], sequence.end
        )
        batch = self._tensors(model, [prompt])
        llm, cache = model.causal_lm, None
        inputs = model.inputs(batch["token_ids"], batch["sources"], model.projector(batch["vectors"]))
        tokens: list[int] = []
        for _ in range(len(sequence.token_ids) - len(prompt.token_ids)):
            output = llm(inputs_embeds=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            token = output.logits[:, -1].argmax(-1)  # (1,)
            if int(token) == self._tokenizer.eos_token_id:
                break
            tokens.append(int(token))
            cache, inputs = output.past_key_values, llm.get_input_embeddings()(token)[:, None]
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text


def _with_sources(sequence: Sequenced, other: Sequenced) -> Sequenced:
    """Return a copy of a sequence with the passages of another one in its placeholders."""
    rows = other.sources[other.sources >= 0]
    placeholders = np.flatnonzero(sequence.sources >= 0)
    sources = sequence.sources.copy()
    sources[placeholders] = np.resize(rows, len(placeholders))
    return Sequenced(sequence.token_ids, sources, sequence.end, sequence.labels)


def _without_passages(sequence: Sequenced) -> Sequenced:
    """Return a copy of a sequence without its passage placeholders."""
    is_token = sequence.sources < 0
    labels = None if sequence.labels is None else sequence.labels[is_token]
    end = int(is_token[: sequence.end + 1].sum()) - 1
    return Sequenced(sequence.token_ids[is_token], sequence.sources[is_token], end, labels)
