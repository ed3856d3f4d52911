"""Cross-encoders: a sequence classifier reads query and passage together (monoBERT, arXiv 1901.04085).

Loading, tokenising, forward pass and activation are sentence-transformers' `CrossEncoder`, so that any model
it loads works and scores equal `CrossEncoder.predict`. Batching is ours: pairs are sorted by their token
count (`predict` sorts by characters) and cut by a token budget instead of a fixed number of pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, validate_call

from rerankers.batching import BatchTokens, length_sorted_batches, resolve_batch_tokens
from rerankers.devices import AttentionName, DtypeName, resolve_device, resolve_dtype
from rerankers.errors import InputError, ModelError
from rerankers.jina_reranker import renamed
from rerankers.models import ModelFiles, find_model
from rerankers.pointwise import Pair, PointwiseReranker, Tokenized
from rerankers.remote_code import check_pinned, loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_USUAL_LENGTH = 512  # for tokenizers that state no maximum

Features = Any
"""`CrossEncoder.preprocess` output: tensors of shape (pairs, longest pair), and settings."""


class CrossEncoderReranker(PointwiseReranker[Features]):
    """Ranks by a cross-encoder's score.

    Args:
        model: hub id, folder or wheel of a sequence classification checkpoint; see `rerankers.models`.
        revision: hub revision (branch, tag or commit).
        trust_remote_code: run the code that the model's hub repository brings; `revision` must then be a
            full commit hash.
        max_length: tokens of a pair, special tokens included, beyond which the longer text is cut; None is
            the tokenizer's own maximum.
        label: class whose log-probability is the score, for a classifier with several classes (monoBERT: 1);
            None for a classifier with one output, whose activation `CrossEncoder` chooses.
        batch_tokens: tokens in one forward pass, padding included.
        device, dtype, attention: as everywhere; see `rerankers.devices`.

    Raises:
        InputError: an option does not fit the model.
        ModelError: the files do not load, or are no classifier.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        trust_remote_code: bool = False,
        max_length: Annotated[int, Field(ge=8)] | None = None,
        label: Annotated[int, Field(ge=0)] | None = None,
        batch_tokens: BatchTokens = "auto",
        device: str = "auto",
        dtype: DtypeName = "auto",
        attention: AttentionName = "auto",
    ) -> None:
        from sentence_transformers import CrossEncoder

        if trust_remote_code:
            check_pinned(model, revision)
        files = find_model(model, revision)
        if not trust_remote_code:
            files = renamed(files)
        target = resolve_device(device)
        how: dict[str, Any] = {"dtype": resolve_dtype(dtype, target)}
        if attention != "auto":
            how["attn_implementation"] = attention
        with loading("cross-encoder", model, trust_remote_code):
            self._encoder: Any = CrossEncoder(
                files.location,
                revision=files.revision,
                device=str(target),
                max_length=max_length,
                trust_remote_code=trust_remote_code,
                model_kwargs=how,
            )
        self._encoder.eval()
        self._check_head(files, label)
        if self._encoder.max_seq_length > 1_000_000:
            self._encoder.max_seq_length = _USUAL_LENGTH
        self._encoder[0].unpad_inputs = False  # rows are sliced into batches, so they must stay rows
        self._label = label
        self._batch_tokens = resolve_batch_tokens(batch_tokens, target)
        self.device = str(target)
        self._described = {
            "model": model,
            "revision": getattr(self._encoder.config, "_commit_hash", None) or files.fingerprint,
            "remote_code": trust_remote_code,
        }

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
        lengths = features["attention_mask"].sum(dim=1).tolist()
        if features.encodings is None:  # a slow tokenizer; then a pair that fits exactly is counted too
            limit = self._encoder.max_seq_length
            return Tokenized(features, lengths, [length >= limit for length in lengths])
        return Tokenized(features, lengths, [bool(encoding.overflowing) for encoding in features.encodings])

    def score(self, tokenized: Tokenized[Features]) -> list[float]:
        """The activated output, or the log-probability of `label`."""
        import torch

        scores = torch.empty(len(tokenized.lengths), device=self.device)
        with torch.inference_mode():
            for batch in length_sorted_batches(tokenized.lengths, self._batch_tokens):
                longest = tokenized.lengths[batch[0]]
                scores[batch] = self._forward(self._slice(tokenized.inputs, batch, longest))
        values: list[float] = scores.tolist()
        return values

    def _slice(self, features: Features, rows: list[int], width: int) -> Features:
        """These rows without the padding that all of them share, on the model's device."""
        left = self._encoder.tokenizer.padding_side == "left"
        columns = slice(-width, None) if left else slice(0, width)
        return {
            name: value[rows, columns].to(self.device) if getattr(value, "ndim", 0) == 2 else value
            for name, value in features.items()
        }

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
