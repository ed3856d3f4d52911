"""monoT5 (Nogueira et al., arXiv 2003.06713): a sequence-to-sequence model answers `true` or `false`.

The encoder reads "Query: ... Document: ... Relevant:"; the score is the log-probability of `true` against
`false` as the first decoded token. The published code cuts the whole input at 512 tokens, and with it the
question at its end; here the passage is cut instead, which differs only for passages that long.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, validate_call

from rerankers.errors import ModelError
from rerankers.llm.readout import check_offsets, cut_to_tokens, log_probability, read_only
from rerankers.models.batching import BatchTokens, length_sorted_batches, resolve_batch_tokens
from rerankers.models.devices import AttentionName, DtypeName, resolve_device, resolve_dtype
from rerankers.models.folder import check_hub_model
from rerankers.models.loading_report import load_complete, refuse_adapter
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.models.side_by_side import side_by_side
from rerankers.models.vocabulary import check_rows, load_tokenizer
from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized
from rerankers.pointwise.prompts import MonoT5Prompt, fill, prompt_named
from rerankers.text.control_tokens import ControlTokenMode, ControlTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MonoT5(PointwiseReranker[list[list[int]]]):
    """Ranks by log P(true) with P over true and false.

    Args:
        model: sequence-to-sequence checkpoint; hub id or folder, see `rerankers.models.locate`.
        revision: hub revision (branch, tag or commit).
        prompt: name of a wording in `pointwise_prompts.toml`; it names the two answers.
        max_passage_tokens: a passage is cut after this many tokens.
        control_tokens: how control tokens in queries and passages are read; see
            `rerankers.text.control_tokens`.
        batch_tokens: tokens in one forward pass, padding included.
        device, dtype, attention: as everywhere; see `rerankers.models.devices`.

    Raises:
        InputError: no such prompt.
        ModelError: the model does not load, or its vocabulary lacks an answer.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        prompt: str = "monot5",
        max_passage_tokens: Annotated[int, Field(ge=1)] = 448,
        control_tokens: ControlTokenMode = "text",
        batch_tokens: BatchTokens = "auto",
        device: str = "auto",
        dtype: DtypeName = "auto",
        attention: AttentionName = "auto",
    ) -> None:
        from transformers import AutoModelForSeq2SeqLM

        wording = prompt_named(MonoT5Prompt, prompt)
        files = find_model(model, revision)
        target = resolve_device(device)
        how = {"attn_implementation": attention} if attention != "auto" else {}
        with loading("sequence-to-sequence model", model):
            check_hub_model(files)
            refuse_adapter(files)
            self._tokenizer: Any = load_tokenizer(files)
            load = partial(
                AutoModelForSeq2SeqLM.from_pretrained,
                files.location,
                revision=files.revision or "main",
                trust_remote_code=False,
                dtype=resolve_dtype(dtype, target),
                **how,
            )
            network = load_complete(model, load)
            check_rows(model, self._tokenizer, network)
            check_offsets(self._tokenizer)
        self._model: Any = network.to(target).eval().requires_grad_(False)
        self._text = wording.text
        self._parameters = sum(weight.numel() for weight in network.parameters())
        read_only(self._model, [self._token(wording.yes), self._token(wording.no)])
        self._prompt = prompt
        self.control = ControlTokens(self._tokenizer, control_tokens)
        self._control_tokens = control_tokens
        self._max_passage_tokens = max_passage_tokens
        self._batch_tokens = resolve_batch_tokens(batch_tokens, target)
        self._described = {
            "model": model,
            "revision": getattr(network.config, "_commit_hash", None) or files.fingerprint,
        }
        self.device = str(target)

    def _token(self, word: str) -> int:
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        if word not in vocabulary:
            raise ModelError(f"the vocabulary has no {word!r}; choose the prompt the model was trained with")
        return vocabulary[word]

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a prompt that is unknown."""
        prompt_named(MonoT5Prompt, options["prompt"])

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[list[list[int]]]:
        """Tokenise each prompt as one text, with the end token the model was trained with."""
        passages, truncated = cut_to_tokens(
            self._tokenizer, [pair.passage for pair in pairs], self._max_passage_tokens
        )
        texts = [
            fill(self._text, query=pair.query, passage=passage)
            for pair, passage in zip(pairs, passages, strict=True)
        ]
        ids: list[list[int]] = self._tokenizer(texts, verbose=False)["input_ids"]
        return Tokenized(ids, [len(row) for row in ids], truncated, [tuple(row) for row in ids])

    def score(self, tokenized: Tokenized[list[list[int]]]) -> list[float]:
        """Log-probability of true, natural logarithm."""
        import torch

        scores = torch.empty(len(tokenized.inputs))
        start = self._model.config.decoder_start_token_id

        def read(batch: list[int]) -> None:
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
        """Model, revision or fingerprint, dtype, attention, the wording, and the limits."""
        return {
            **self._described,
            "architecture": type(self._model).__name__,
            "parameters": self._parameters,
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "attention": self._model.config._attn_implementation,
            "prompt": self._prompt,
            "max_passage_tokens": self._max_passage_tokens,
            "control_tokens": self._control_tokens,
            "batch_tokens": self._batch_tokens,
            "device": self.device,
        }
