"""Cross-encoders: a sequence classifier reads query and passage together (monoBERT, arXiv 1901.04085).

Loading, tokenising and forward pass are sentence-transformers' `CrossEncoder`, so that any model it loads
works. Scores are the raw logits, those of `CrossEncoder.predict(..., activation_fn=torch.nn.Identity())`. An
activation such as the sigmoid keeps their order until it saturates, and then makes ties. Batching is ours:
pairs are sorted by their token count (`predict` sorts by characters) and cut by a token budget instead of a
fixed number of pairs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rerankers.encoders.precision import Precision, half_precision
from rerankers.errors import InputError, ModelError
from rerankers.models.batching import resolve_batch_tokens
from rerankers.models.layers.first_token import read_first_token_only
from rerankers.models.layers.packed_linear import pack_linear_layers
from rerankers.models.lengths import usable_positions
from rerankers.models.remote_code import loading
from rerankers.models.sentence_model import (
    Features,
    in_batches,
    lengths_and_cuts,
    load_sentence_model,
)
from rerankers.models.stated_code import stated_activation
from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized
from rerankers.pointwise.classifier_adapter import find_adapter
from rerankers.pointwise.classifier_head import Padding, score_in_float32
from rerankers.pointwise.jina_reranker import renamed
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from rerankers.methods.pointwise.cross_encoder import CrossEncoderOptions
    from rerankers.models.locate import ModelFiles

_USUAL_LENGTH = 512  # for tokenizers that state no maximum


class CrossEncoderReranker(PointwiseReranker[Features]):
    """A reranker that scores each pair of query and passage by a cross-encoder.

    Raises:
        InputError: an option does not fit the model.
        ModelError: the files do not load, or are not a classifier.
    """

    def __init__(self, options: CrossEncoderOptions) -> None:
        from sentence_transformers import CrossEncoder
        from torch.nn import Identity

        files = options.files() if options.trust_remote_code else renamed(options.files())
        adapter = find_adapter(files)
        self._architecture: str | None = None
        self._activation = stated_activation(files)
        if adapter is None:
            self._check_architecture(files)

        def load(options: CrossEncoderOptions) -> tuple[Any, dict[str, object]]:
            """Return the `CrossEncoder` loaded by these options, an adapter merged in, and the record's
            entry on it.
            """
            if adapter is None:
                make = partial(CrossEncoder, max_length=options.max_length, activation_fn=Identity())
                return load_sentence_model(make, "cross-encoder", files, options)
            make = partial(adapter.load, max_length=options.max_length)
            encoder, base = load_sentence_model(make, "base", adapter.base, options, adapter.brings)
            return encoder, {**base, **adapter.describe(), "base": base}

        plain = options.model_copy(update={"device": "cpu", "dtype": "float32"})
        self._encoder, self._described = load(options if options.backend == "torch" else plain)
        self._check_head(files, options.label)
        self._set_length(files, options.max_length)
        self._label = options.label
        self.control = ControlTokens(self._encoder.tokenizer, options.control_tokens)
        self._prefixes = {"query_prefix": options.query_prefix, "passage_prefix": options.passage_prefix}
        network = self._encoder.model
        self._network: dict[str, object] = {
            "architecture": type(network).__name__,
            "dtype": str(network.dtype).removeprefix("torch."),
            "attention": network.config._attn_implementation,
        }
        self._parameters = sum(weight.numel() for weight in self._encoder.model.parameters())
        self._padding = Padding(self._encoder)
        score_in_float32(self._encoder)
        self.device = str(self._encoder.device)
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, self._encoder.device)
        with loading("cross-encoder", files.name, options.trust_remote_code):
            self._scores_of(["a passage"])  # settings that do not fit each other fail here
        self._precision: Precision | None = None
        if options.backend == "torch":
            read_first_token_only(self._encoder)
            if len(self._encoder) == 1:  # a classifier, not a language model's yes and no
                self._precision = half_precision(self._encoder[0], self._scores_of, lambda: load(plain)[0][0])
            pack_linear_layers(self._encoder.model)
        else:
            from rerankers.encoders.runtimes.network import install

            installed = install([self._encoder[0]], files, options, self._scores_of)
            self._precision = installed.precision
            self._network |= installed.described

    def _scores_of(self, passages: Sequence[str]) -> torch.Tensor:
        """Return the scores of passages for one made-up query, (passages,) in float32."""
        import torch

        return torch.tensor(self.score(self.tokenize([Pair("a query", passage) for passage in passages])))

    def _check_architecture(self, files: ModelFiles) -> None:
        """Refuse a model that is not a sequence classifier, before its weights are read; else keep its
        architecture.

        Raises:
            ModelError: the model is of another kind.
        """
        from sentence_transformers.util import is_sentence_transformer_model

        from rerankers.encoders.recipe import read_json

        stated = read_json(files, "config.json").get("architectures")
        architecture = str(stated[0]) if isinstance(stated, list) and stated else "unknown"
        if is_sentence_transformer_model(files.location, revision=files.revision):
            return
        if architecture.endswith("ForCausalLM"):
            raise ModelError(f"{files.name!r} is a {architecture}; use causal-yes-no or query-likelihood")
        if not architecture.endswith("ForSequenceClassification"):
            raise ModelError(f"{files.name!r} is a {architecture}, not a sequence classifier")
        self._architecture = architecture

    def _check_head(self, files: ModelFiles, label: int | None) -> None:
        """Refuse a model that loaded as another architecture than stated, and a `label` that does not fit its
        classes.

        Raises:
            InputError: there are several classes and `label` names none of them, or one output and a `label`.
            ModelError: transformers does not have the stated architecture.
        """
        if self._architecture not in (None, type(self._encoder.model).__name__):
            raise ModelError(
                f"{files.name!r} is a {self._architecture}, which transformers does not know; "
                "set trust_remote_code: true and revision: <commit>, or serve it and use rerank-api"
            )
        labels = self._encoder.num_labels
        if labels > 1 and (label is None or label >= labels):
            raise InputError(f"{files.name!r} has {labels} classes; set label to the one that means relevant")
        if labels == 1 and label is not None:
            raise InputError(f"{files.name!r} has one output; leave the option label out")

    def _set_length(self, files: ModelFiles, max_length: int | None) -> None:
        """Limit pairs to the option's or the tokenizer's length, and never more than the model's positions.

        Raises:
            InputError: `max_length` exceeds the positions.
        """
        limit = usable_positions(self._encoder.model.config)
        if max_length and limit and max_length > limit:
            raise InputError(f"max_length is {max_length}, but {files.name!r} has only {limit} positions")
        stated = self._encoder.max_seq_length
        if stated is None or stated > 1_000_000:
            stated = limit or _USUAL_LENGTH
        self._encoder.max_seq_length = min(stated, limit or stated)

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[Features]:
        """Return the pairs tokenised by the model's own preprocessing, padded to the longest pair."""
        name = self._encoder.default_prompt_name
        prompt = self._encoder.prompts[name] if name else None
        before_query, before_passage = self._prefixes.values()
        texts = [(before_query + pair.query, before_passage + pair.passage) for pair in pairs]
        features = self._encoder.preprocess(texts, prompt=prompt)
        self._padding.write(features)
        lengths, cut = lengths_and_cuts(self._encoder, features, texts, prompt=prompt)
        names = [name for name in ("input_ids", "token_type_ids") if name in features]
        rows = zip(*(features[name].numpy() for name in names), strict=True)
        read = [
            (length, *(part.tobytes() for part in row)) for length, row in zip(lengths, rows, strict=True)
        ]
        return Tokenized(features, lengths, cut, read)

    def score(self, tokenized: Tokenized[Features]) -> list[float]:
        """Return a score for each pair: its logit, or the log-probability of the class `label`."""
        import torch

        scores = torch.zeros(len(tokenized.lengths), device=self.device)

        def read(rows: list[int], features: Features) -> None:
            """Put the scores of a batch into their rows of `scores`."""
            scores[rows] = self._forward(features)

        in_batches(self._encoder, tokenized.inputs, tokenized.lengths, self._batch_tokens, read)
        values: list[float] = scores.tolist()
        return values

    def _forward(self, features: Features) -> torch.Tensor:
        """Return the scores of a batch, (pairs,) in float32, from its tokenised pairs on the
        model's device.
        """
        from torch.nn.functional import logsigmoid

        outputs: torch.Tensor = self._encoder(features)["scores"].float()  # (pairs, classes)
        if self._label is None:
            return outputs.reshape(-1)
        others = [label for label in range(outputs.shape[1]) if label != self._label]
        log_odds = outputs[:, self._label] - outputs[:, others].logsumexp(dim=-1)
        return logsigmoid(log_odds)  # the log-probability, which saturates neither at 0 nor at 1

    def describe(self) -> dict[str, object]:
        """Return the record's entry: model and version, dtype, attention, length limit, kind of score and
        batch budget.
        """
        precision = self._precision
        return {
            **self._described,
            **self._network,
            "parameters": self._parameters,
            **({"largest_difference": precision.difference} if precision else {}),
            "max_length": self._encoder.max_seq_length,
            **self._prefixes,
            "score": "logit" if self._label is None else f"log-probability of class {self._label}",
            "stated_activation": self._activation,
            "batch_tokens": self._batch_tokens,
            "device": self.device,
            **({"notice": precision.notice} if precision and precision.notice else {}),
        }
