"""Cross-encoders: a sequence classifier reads query and passage together (monoBERT, arXiv 1901.04085).

Loading, tokenising, forward pass and activation are sentence-transformers' `CrossEncoder`, so that any model
it loads works and scores equal `CrossEncoder.predict`. Batching is ours: pairs are sorted by their token
count (`predict` sorts by characters) and cut by a token budget instead of a fixed number of pairs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, validate_call

from rerankers.batching import resolve_batch_tokens
from rerankers.control_tokens import ControlTokens
from rerankers.errors import InputError, ModelError
from rerankers.jina_reranker import renamed
from rerankers.pointwise import Pair, PointwiseReranker, Tokenized
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

_USUAL_LENGTH = 512  # for tokenizers that state no maximum


class CrossEncoderReranker(PointwiseReranker[Features]):
    """Ranks by a cross-encoder's score.

    Args:
        loaded: the checkpoint of a sequence classifier, and how it is loaded; in experiment files these
            options stand beside the others.
        max_length: tokens of a pair, special tokens included, beyond which the longer text is cut; None is
            the tokenizer's own maximum.
        label: class whose log-probability is the score, for a classifier with several classes (monoBERT: 1);
            None for a classifier with one output, whose activation `CrossEncoder` chooses.

    Raises:
        InputError: an option does not fit the model.
        ModelError: the files do not load, or are no classifier.
    """

    @validate_call
    def __init__(
        self,
        *,
        loaded: SentenceModelOptions,
        max_length: Annotated[int, Field(ge=8)] | None = None,
        label: Annotated[int, Field(ge=0)] | None = None,
    ) -> None:
        from sentence_transformers import CrossEncoder

        files = loaded.files() if loaded.trust_remote_code else renamed(loaded.files())
        make = partial(CrossEncoder, max_length=max_length)
        self._encoder, self._described = load_sentence_model(make, "cross-encoder", files, loaded)
        self._check_head(files, label)
        if self._encoder.max_seq_length > 1_000_000:
            self._encoder.max_seq_length = _USUAL_LENGTH
        self._label = label
        self.control = ControlTokens(self._encoder.tokenizer, loaded.control_tokens)
        self.device = str(self._encoder.device)
        self._batch_tokens = resolve_batch_tokens(loaded.batch_tokens, self._encoder.device)

    def _check_head(self, files: ModelFiles, label: int | None) -> None:
        """Refuse what would load but score at random: transformers fills a missing head with noise."""
        from sentence_transformers.util import is_sentence_transformer_model

        architecture = (self._encoder.config.architectures or ["unknown"])[0]
        if not is_sentence_transformer_model(files.location, revision=files.revision):
            if architecture.endswith("ForCausalLM"):
                raise ModelError(f"{files.name!r} is a {architecture}; use causal-yes-no or query-likelihood")
            if not architecture.endswith("ForSequenceClassification"):
                raise ModelError(f"{files.name!r} is a {architecture}, not a sequence classifier")
            if architecture != type(self._encoder.model).__name__:
                raise ModelError(
                    f"{files.name!r} is a {architecture}, which transformers does not know; "
                    "set trust_remote_code: true and revision: <commit>, or serve it and use rerank-api"
                )
        labels = self._encoder.num_labels
        if labels > 1 and (label is None or label >= labels):
            raise InputError(f"{files.name!r} has {labels} classes; set label to the one that means relevant")
        if labels == 1 and label is not None:
            raise InputError(f"{files.name!r} has one output; leave the option label out")

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[Features]:
        """Tokenise with the model's own preprocessing, padded to the longest pair."""
        name = self._encoder.default_prompt_name
        prompt = self._encoder.prompts[name] if name else None
        features = self._encoder.preprocess(list(pairs), prompt=prompt)
        read = [row.tobytes() for row in features["input_ids"].numpy()]
        return Tokenized(features, *lengths_and_cuts(self._encoder, features), read)

    def score(self, tokenized: Tokenized[Features]) -> list[float]:
        """The activated output, or the log-probability of `label`."""
        import torch

        scores = torch.empty(len(tokenized.lengths), device=self.device)

        def read(rows: list[int], features: Features) -> None:
            scores[rows] = self._forward(features)

        in_batches(self._encoder, tokenized.inputs, tokenized.lengths, self._batch_tokens, read)
        values: list[float] = scores.tolist()
        return values

    def _forward(self, features: Features) -> torch.Tensor:
        """(pairs,) scores in float32."""
        outputs: torch.Tensor = self._encoder(features)["scores"].float()  # (pairs, classes)
        if self._label is not None:
            return outputs.log_softmax(dim=-1)[:, self._label]
        activated: torch.Tensor = self._encoder.activation_fn(outputs)
        return activated.reshape(-1)

    def describe(self) -> dict[str, object]:
        """Model, revision or fingerprint, dtype, attention, length limit, activation and batch budget."""
        network = self._encoder.model
        return {
            **self._described,
            "architecture": type(network).__name__,
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "dtype": str(network.dtype).removeprefix("torch."),
            "attention": network.config._attn_implementation,
            "max_length": self._encoder.max_seq_length,
            "activation": "log_softmax" if self._label is not None else str(self._encoder.activation_fn),
            "batch_tokens": self._batch_tokens,
            "device": self.device,
        }
