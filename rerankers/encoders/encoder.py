"""An embedding model: texts in, unit vectors out.

Passages are sorted by length and batched under a token budget, so that little is spent on padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, validate_call

from rerankers.batching import length_sorted_batches
from rerankers.devices import AttentionName, DtypeName, resolve_device, resolve_dtype
from rerankers.encoders.backbone import load_backbone
from rerankers.encoders.recipe import Pooling, find_recipe
from rerankers.encoders.transfer import to_device
from rerankers.models import find_model
from rerankers.remote_code import loading
from rerankers.side_by_side import side_by_side
from rerankers.vocabulary import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["query", "passage"]


class Encoder:
    """A bidirectional or causal encoder with its tokenizer, pooling and prefixes.

    Args:
        model: hub id, folder or wheel; see `rerankers.models`.
        revision: hub revision (branch, tag or commit).
        pooling: `mean` over tokens, the first (`cls`) or the `last_token`; `auto` as the authors say.
        max_length: longest input in tokens, special ones included; the authors' limit applies if smaller.
        query_prefix: put before queries; None is the authors' own.
        passage_prefix: put before passages; None is the authors' own.
        dtype: weights' dtype; `auto` is bfloat16 on CUDA, float32 on a CPU.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        attention: transformers' attention implementation; `auto` lets transformers choose.
        batch_tokens: most tokens in one forward pass, padding included; None is 16384 on CUDA and 1024 on a
            CPU, where larger batches fill no idle units and only bring padding and cache misses.
        weights: these weights in place of the model's own, by the names the model gives them.

    Attributes:
        dimension: length of a vector.
        device: where weights and vectors are.
        pooling: the pooling in use.

    Raises:
        InputError: no such folder or device.
        ModelError: the files do not load, or weights are missing or surplus.
    """

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        pooling: Literal["auto", "mean", "cls", "last_token"] = "auto",
        max_length: int = 512,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        dtype: DtypeName = "auto",
        device: str = "auto",
        attention: AttentionName = "auto",
        batch_tokens: int | None = None,
        weights: dict[str, torch.Tensor] | None = None,
    ) -> None:
        files = find_model(model, revision)
        recipe = find_recipe(files)
        self.device = resolve_device(device)
        with loading("encoder", model):
            self._model = load_backbone(files, resolve_dtype(dtype, self.device), attention, weights).to(
                self.device
            )
            self._tokenizer: Any = load_tokenizer(files)
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        config = self._model.config
        self.dimension: int = config.hidden_size
        self.pooling: Pooling = recipe.pooling if pooling == "auto" else pooling
        self.max_length: int = min(
            max_length,
            recipe.max_length or max_length,
            self._tokenizer.model_max_length,
            max_length if _has_no_position_table(config) else config.max_position_embeddings,
        )
        self.query_prefix = recipe.query_prefix if query_prefix is None else query_prefix
        self.passage_prefix = recipe.passage_prefix if passage_prefix is None else passage_prefix
        self._batch_tokens = batch_tokens or (16384 if self.device.type == "cuda" else 1024)
        self._files = files

    def encode(self, texts: Sequence[str], *, kind: Kind = "passage") -> torch.Tensor:
        """Embed texts: (len(texts), dimension) float32 on `device`, every row of length one.

        Equal texts get equal rows to the last bit. No texts give no rows.
        """
        return self.encode_and_cut(texts, kind=kind)[0]

    def encode_and_cut(
        self, texts: Sequence[str], *, kind: Kind = "passage"
    ) -> tuple[torch.Tensor, list[int]]:
        """Embed texts as `encode` does, and say which of them were cut at `max_length`."""
        prefix = self.query_prefix if kind == "query" else self.passage_prefix
        row_of: dict[str, int] = {}
        for text in texts:
            row_of.setdefault(text, len(row_of))
        vectors = torch.empty(len(row_of), self.dimension, device=self.device)
        tokens, cut = self._tokenize([prefix + text for text in row_of])
        cut_rows = [row for row, text in enumerate(texts) if cut[row_of[text]]]

        def embed(rows: list[int]) -> None:
            vectors[to_device(torch.tensor(rows), self.device)] = self._forward([tokens[row] for row in rows])

        lengths = [len(ids) for ids in tokens]
        side_by_side(embed, length_sorted_batches(lengths, self._batch_tokens, self.device), self.device)
        if len(row_of) < len(texts):
            vectors = vectors[to_device(torch.tensor([row_of[text] for text in texts]), self.device)]
        return vectors, cut_rows

    def describe(self) -> dict[str, object]:
        """Model, revision or fingerprint, pooling, prefixes, length, dtype and attention as loaded."""
        return {
            "model": self._files.name,
            "revision": getattr(self._model.config, "_commit_hash", None) or self._files.fingerprint,
            "architecture": type(self._model).__name__,
            "dimension": self.dimension,
            "pooling": self.pooling,
            "query_prefix": self.query_prefix,
            "passage_prefix": self.passage_prefix,
            "max_length": self.max_length,
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "attention": self._model.config._attn_implementation,
        }

    def _tokenize(self, texts: list[str]) -> tuple[list[list[int]], list[bool]]:
        """Token ids of each text, and whether it had to be cut."""
        if not texts:
            return [], []
        encoded = self._tokenizer(
            texts, truncation=True, max_length=self.max_length, return_attention_mask=False
        )
        cut = [bool(encoding.overflowing) for encoding in encoded.encodings]
        return encoded["input_ids"], cut

    def _forward(self, tokens: list[list[int]]) -> torch.Tensor:
        """(batch, dimension) unit vectors of one padded batch."""
        longest = max(len(ids) for ids in tokens)
        ids = torch.full((len(tokens), longest), self._tokenizer.pad_token_id)  # (batch, longest)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        lengths = torch.tensor([len(sequence) for sequence in tokens])
        mask = torch.arange(longest) < lengths[:, None]
        inputs: dict[str, torch.Tensor] = {"input_ids": ids, "attention_mask": mask.long()}
        inputs = {name: to_device(value, self.device) for name, value in inputs.items()}
        hidden = self._model(**inputs).last_hidden_state.float()  # (batch, longest, dimension)
        return F.normalize(
            self._pool(hidden, to_device(lengths, self.device), inputs["attention_mask"]), dim=-1
        )

    def _pool(self, hidden: torch.Tensor, lengths: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, dimension) from (batch, longest, dimension); padding is on the right."""
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "last_token":
            return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        weights = mask.to(hidden.dtype)[:, :, None]
        return (hidden * weights).sum(1) / weights.sum(1)


def _has_no_position_table(config: Any) -> bool:
    """Whether positions enter without a table that would limit the length (ALiBi)."""
    return getattr(config, "position_embedding_type", None) == "alibi"
